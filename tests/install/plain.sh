# With nothing but the compiler.
place=(-I"$PREFIX/include" -L"$PREFIX/lib")
"${CC[@]}" "${place[@]}" program.c -o c.shared -lpktring
"${CXX[@]}" "${place[@]}" program.cc -o cc.shared -lpktring
uses_shared c.shared cc.shared
runs c.shared cc.shared

private=(-lpthread -ldl -lm -lc)
"${CC[@]}" "${place[@]}" program.c -o c.static "$PREFIX/lib/libpktring.a" "${private[@]}"
"${CXX[@]}" "${place[@]}" program.cc -o cc.static "$PREFIX/lib/libpktring.a" "${private[@]}"
uses_static c.static cc.static
runs c.static cc.static
