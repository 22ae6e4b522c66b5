-- SPDX-License-Identifier: MIT
-- What busted runs first: modules are loaded as in the program.
require("neap.runtime.interpret").install()
