# What the scripts beside this one share. They run with bash, in a directory of their own that
# holds copies of the programs, in a network with the veth pair va, vb, and without the source
# tree: PREFIX is all there is of the library. Exit status 77: this machine lacks something.
set -euo pipefail

CC=(${CC:-cc} -Wall -Wextra -Werror -O1)
CXX=(${CXX:-c++} -std=c++17 -Wall -Wextra -Werror -O1)

needs() { command -v "$1" >/dev/null || { echo "$1 is not installed"; exit 77; }; }

[ ! -e "$SOURCE/Cargo.toml" ] || { echo "the source tree is in reach"; exit 1; }

# The programs load the shared library, by its soname, or do not.
uses_shared() {
    for program; do
        readelf -d "$program" | grep -q 'NEEDED.*\[libpktring\.so\.0\]' ||
            { echo "$program does not load the library by its soname"; exit 1; }
    done
}
uses_static() {
    for program; do
        if readelf -d "$program" | grep -q libpktring; then
            echo "$program loads the shared library"
            exit 1
        fi
    done
}

runs() {
    for command; do
        LD_LIBRARY_PATH=$PREFIX/lib ./$command || { echo "$command failed"; exit 1; }
    done
}
