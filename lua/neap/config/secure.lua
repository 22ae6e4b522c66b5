-- SPDX-License-Identifier: MIT
--
-- The settings of a listener's secureSocket.  Apps write them nested, as the documents that the names come from do; C
-- reads one flat table.  Files are looked for in the app's folder.
--
--      key = { certFile =, keyFile =, keyPassword = }                      PEM
--      key = { path =, password = }                                        or PKCS#12
--      mutualSsl = { verifyClient = "REQUIRE", cert = "ca.pem" | { path =, password = } }

local errors = require "neap.message.error"
local make = require "neap.config.fields"
local source = require "neap.message.source"
local text = require "neap.message.text"

local SESSION_SECONDS = 7200
local MAX_SESSION_SECONDS = 86400 -- the master's keys of session tickets are good for a day

local function isPath(v)
  return type(v) == "string" and v ~= "" and not v:find "%z"
end

local function resolve(path)
  return path:sub(1, 1) == "/" and path or source.join(source.folder(), path)
end

local path = {
  expect = "the path of a file",
  check = function(v)
    if isPath(v) then
      return resolve(v)
    end
  end,
}

-- Its value is never shown.
local password = {
  expect = "a password",
  check = function(v)
    if type(v) == "string" and #v <= 1024 and not v:find "%z" then
      return v
    end
    return nil, type(v) == "string" and "it is too long or contains NUL" or "it is a " .. type(v)
  end,
}

local store = {
  expect = 'the path of a PEM file, or { path = "ca.p12", password = "..." }',
  check = function(v)
    if isPath(v) then
      return { path = resolve(v) }
    elseif type(v) ~= "table" then
      return nil
    end
    for key in pairs(v) do
      if key ~= "path" and key ~= "password" then
        return nil, "it has the key " .. text.show(key)
      end
    end
    if isPath(v.path) and (v.password == nil or password.check(v.password)) then
      return { path = resolve(v.path), password = v.password }
    end
    return nil, isPath(v.path) and "its password is no string" or "its path is " .. text.show(v.path)
  end,
}

local VERSIONS = { ["TLSv1.2"] = "tls12", ["TLSv1.3"] = "tls13" }

local function version(v)
  if VERSIONS[v] then
    return v
  end
  local old = type(v) == "string" and v:find "^[TtSs][LlSs][SsLl]"
  return nil, text.show(v) .. (old and " is not supported: TLSv1.2 and TLSv1.3 are" or " is no version of TLS")
end

local function cipher(v)
  if type(v) == "string" and v:find "^[%w_-]+$" then
    return v
  end
  return nil, text.show(v) .. " is no name of a cipher suite"
end

local fields = {
  key = {
    fields = { certFile = path, keyFile = path, keyPassword = password, path = path, password = password },
  },
  mutualSsl = {
    fields = { verifyClient = make.choice("REQUIRE", "REQUIRE", "OPTIONAL"), cert = store },
  },
  protocol = {
    fields = {
      name = make.choice("TLS", "TLS"),
      versions = make.list({ "TLSv1.2", "TLSv1.3" }, 'a list out of "TLSv1.2" and "TLSv1.3"', version),
    },
  },
  ciphers = make.list({}, "a list of cipher suites, by their OpenSSL or IANA names", cipher),
  shareSession = make.boolean(true),
  handshakeTimeout = make.seconds(10, 0),
  sessionTimeout = make.count(SESSION_SECONDS, 1, MAX_SESSION_SECONDS),
}

local function pkcs12Problem(key)
  if key.certFile or key.keyFile then
    return "has a path and a certFile or keyFile; it is either PKCS#12 (path) or PEM (certFile and keyFile)"
  end
  return key.keyPassword and "has a keyPassword; the password of a PKCS#12 file is password"
end

-- What is wrong with a key beyond its fields; nil when nothing is.
local function keyProblem(key)
  if key.path then
    return pkcs12Problem(key)
  elseif not key.certFile and not key.keyFile then
    return "is missing: key = { certFile = \"cert.pem\", keyFile = \"key.pem\" }, or key = { path = \"server.p12\" }"
  elseif not key.certFile or not key.keyFile then
    return ('lacks %s; write key = { certFile = "cert.pem", keyFile = "key.pem" }'):format(
      key.certFile and "keyFile" or "certFile")
  end
  return key.password and "has a password; that of a PEM key is keyPassword"
end

-- The first thing that is wrong with the whole, and the key that it is about.
local function findProblem(given, whole)
  local problem = keyProblem(whole.key)
  if problem then
    return "key " .. problem, "key"
  elseif given.mutualSsl ~= nil and not whole.mutualSsl.cert then
    return "mutualSsl.cert is missing: the authorities of clients' certificates, as in { cert = \"ca.pem\" }",
      "mutualSsl"
  elseif #whole.protocol.versions == 0 then
    return "protocol.versions is empty; leave it out for TLSv1.2 and TLSv1.3", "versions"
  end
end

local function hasVersion(versions, name)
  for _, v in ipairs(versions) do
    if v == name then
      return true
    end
  end
  return false
end

--- Checks what the fields alone cannot, and flattens them.
---@param what string how messages begin
---@param given table as the app wrote it
---@param whole table the same, completed
---@return table? settings nil when they cannot be used
local function finish(what, given, whole)
  local problem, key = findProblem(given, whole)
  if problem then
    errors.fault(("%s: secureSocket.%s"):format(what, problem), key)
    return nil
  end
  local mutual = given.mutualSsl ~= nil
  local versions = whole.protocol.versions
  local authorities = mutual and whole.mutualSsl.cert or {}
  return {
    certFile = whole.key.certFile,
    keyFile = whole.key.keyFile,
    keyPassword = whole.key.keyPassword,
    path = whole.key.path,
    password = whole.key.password,
    verifyClient = mutual and whole.mutualSsl.verifyClient or nil,
    authorities = authorities.path,
    authoritiesPassword = authorities.password,
    tls12 = hasVersion(versions, "TLSv1.2"),
    tls13 = hasVersion(versions, "TLSv1.3"),
    ciphers = whole.ciphers,
    shareSession = whole.shareSession,
    handshakeTimeout = whole.handshakeTimeout,
    sessionTimeout = whole.sessionTimeout,
  }
end

return {
  fields = fields,
  finish = finish,
}
