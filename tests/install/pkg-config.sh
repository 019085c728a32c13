# Through pkg-config, shared and static.
needs pkg-config
export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig
pkg-config --exists --print-errors 'pktring >= 0.1'
read -ra flags <<<"$(pkg-config --cflags --libs pktring)"
"${CC[@]}" program.c -o c.shared "${flags[@]}"
"${CXX[@]}" program.cc -o cc.shared "${flags[@]}"
uses_shared c.shared cc.shared
runs c.shared cc.shared

# The linker prefers a shared library, so there is none in this place.
mkdir only
cp "$PREFIX/lib/libpktring.a" only
read -ra flags <<<"$(pkg-config --define-variable=libdir="$PWD/only" --static --cflags --libs pktring)"
"${CC[@]}" program.c -o c.static "${flags[@]}"
"${CXX[@]}" program.cc -o cc.static "${flags[@]}"
uses_static c.static cc.static
runs c.static cc.static

# A program that needs no shared library at all.
echo 'int main(void) { return 0; }' >empty.c
if "${CC[@]}" -static empty.c -o empty 2>libc; then
    "${CC[@]}" -static program.c -o c.whole "${flags[@]}"
    "${CXX[@]}" -static program.cc -o cc.whole "${flags[@]}"
    ! readelf -d c.whole cc.whole | grep NEEDED
    runs c.whole cc.whole
fi
