# From a language that has neither C's headers nor its inline functions.
needs python3
LD_LIBRARY_PATH=$PREFIX/lib python3 capture.py
