# The examples as they are installed.
needs pkg-config
export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig
make -s -C "$PREFIX/share/doc/pktring/examples" OUT="$PWD/examples" LDFLAGS="-Wl,-rpath,$PREFIX/lib"
ls examples >built
[ "$(wc -l <built)" -ge 3 ]
# All but the program that shows how it was done with libpcap, which is built where that is.
rm -f examples/port-libpcap
uses_shared examples/*
runs "examples/demo -n 2000 va vb"
