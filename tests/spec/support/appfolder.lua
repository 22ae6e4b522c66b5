-- SPDX-License-Identifier: MIT
--
-- Apps for specs: folders in the system's place for temporary files, removed after each spec.

local written = {}

local function parents(path)
  return path:match "^(.*)/[^/]*$"
end

--- Writes files into a new folder, or into `root`.
---@param files table<string, string> contents by relative path
---@param root? string
---@return string root
local function write(files, root)
  if not root then
    root = os.tmpname()
    os.remove(root)
    written[#written + 1] = root
  end
  for path, content in pairs(files) do
    local full = root .. "/" .. path
    os.execute(("mkdir -p '%s'"):format(parents(full)))
    local handle = assert(io.open(full, "wb"))
    handle:write(content)
    handle:close()
  end
  return root
end

--- Removes all that was written.
local function remove()
  for _, root in ipairs(written) do
    os.execute(("rm -rf '%s'"):format(root))
  end
  written = {}
end

return {
  remove = remove,
  write = write,
}
