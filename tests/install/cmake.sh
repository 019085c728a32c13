# Through find_package.
needs cmake
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.13)
project(stranger C CXX)
find_package(pktring 0.1 REQUIRED)
set(CMAKE_CXX_STANDARD 17)
foreach(language c cc)
    add_executable(${language}.shared program.${language})
    target_link_libraries(${language}.shared PRIVATE pktring::pktring)
    add_executable(${language}.static program.${language})
    target_link_libraries(${language}.static PRIVATE pktring::pktring_static)
endforeach()
END
configure() { cmake -S . -B build -DCMAKE_PREFIX_PATH="$PREFIX" >cmake.log 2>&1; }
configure || { cat cmake.log; exit 1; }
cmake --build build >cmake.log 2>&1 || { cat cmake.log; exit 1; }
uses_shared build/c.shared build/cc.shared
uses_static build/c.static build/cc.static
runs build/c.shared build/cc.shared build/c.static build/cc.static

# A version that is not there is not found.
rm -r build
sed -i 's/find_package(pktring 0.1/find_package(pktring 0.2/' CMakeLists.txt
if configure; then
    echo "version 0.2 was found"
    exit 1
fi
grep -q '"0.2"' cmake.log
