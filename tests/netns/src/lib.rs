//! Private network namespaces for the tests.
