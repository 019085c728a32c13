# Structs grow at their end. A program of tomorrow, with larger structs, runs on this library; a
# program of today, with smaller ones, on the library of tomorrow, which was built beforehand.
mkdir -p tomorrow/pktring
cp "$PREFIX/include/pktring/inline.h" tomorrow/pktring
awk '/^struct pktring_(ring|stats) \{/ { grows = 1 }
     /^};/ && grows { print "    uint64_t future;"; grows = 0 }
     { print }' "$PREFIX/include/pktring.h" >tomorrow/pktring.h
[ "$(grep -c 'uint64_t future;' tomorrow/pktring.h)" = 2 ]

"${CC[@]}" -DFUTURE -Itomorrow growth.c -o new -L"$PREFIX/lib" -lpktring
runs new
"${CC[@]}" -I"$PREFIX/include" growth.c -o old -L"$PREFIX/lib" -lpktring
runs old
LD_LIBRARY_PATH=$TOMORROW ./old
# The library of tomorrow is one: it takes what this one refuses.
if LD_LIBRARY_PATH=$TOMORROW ./new 2>log; then
    echo "the library of tomorrow does not know its own field"
    exit 1
fi
grep -q E2BIG log
