# A page for each function that the library exports, and pktring(7).
nm -D --defined-only "$PREFIX/lib/libpktring.so" | sed -n 's/.* T \(pktring_[a-z0-9_]*\).*/\1/p' >functions
[ "$(wc -l <functions)" -ge 40 ]
while read -r function; do
    page=$PREFIX/share/man/man3/$function.3
    html=$PREFIX/share/doc/pktring/html/$function.html
    [ -s "$page" ] && [ -s "$html" ] || { echo "$function has no page"; exit 1; }
done <functions
[ -s "$PREFIX/share/man/man7/pktring.7" ]
[ "$(ls "$PREFIX/share/man/man3" | wc -l)" = "$(wc -l <functions)" ]
needs groff
for page in "$PREFIX"/share/man/man?/*; do
    groff -man -Tutf8 -ww -z "$page" 2>&1
done >warnings
[ ! -s warnings ] || { cat warnings; exit 1; }
# Names stay whole, so that they can be searched for.
for page in "$PREFIX"/share/man/man?/pktring*; do
    groff -man -Tascii "$page" | grep -n 'pk-$\|pktring_[a-z0-9_]*-$' && exit 1
done
true
