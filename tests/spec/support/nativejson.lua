-- SPDX-License-Identifier: MIT
--
-- Compiles the C side of neap.json into a shared object of its own, under the build folder, and loads it: so that
-- hundreds of cases run without starting the program for each. Made anew each time; it takes a second.

local build = os.getenv "BUILD" or "build"
local library = build .. "/spec/nativejson.so"

-- Each run compiles into a file of its own and renames it, because two may run side by side.
local command = ([[
  mkdir -p '%s/spec' && ${CC:-cc} -std=gnu11 -D_GNU_SOURCE= -O1 -g -fPIC -shared -Isrc $(pkg-config --cflags luajit) \
    -o '%s'.$$ tests/spec/support/nativejson.c src/bind/data/ljson*.c -lm && mv '%s'.$$ '%s'
]]):format(build, library, library, library)

assert(os.execute(command) == 0, "cannot compile src/bind/data/ljson*.c")

local open = assert(package.loadlib(library, "luaopen_nativejson"))

return open()
