-- SPDX-License-Identifier: MIT
std = "luajit"
max_line_length = 120
max_cyclomatic_complexity = 12
codes = true
unused_secondaries = false
-- Callbacks are methods that need not use `self`, nor every argument they are given.
self = false
unused_args = false

files["**/spec/*_spec.lua"] = { std = "luajit+busted" }
files["tests/support/lua"] = { std = "luajit+busted" }
