-- SPDX-License-Identifier: MIT
--
-- The version of Neap: the Makefile takes it from here, so program and library have the same.  A program that finds a
-- library of another version beside it says so and runs nothing of it.

return "0.1.0"
