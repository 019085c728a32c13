# The examples as they are installed.
needs pkg-config
export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig
make -s -C "$PREFIX/share/doc/pktring/examples" OUT="$PWD/examples" LDFLAGS="-Wl,-rpath,$PREFIX/lib"
ls examples >built
[ "$(wc -l <built)" -ge 3 ]
uses_shared examples/*
runs "examples/demo -n 2000 va vb"
