-- SPDX-License-Identifier: MIT
---@meta
--
-- Types for the language server (LuaLS) of the settings that apps write as tables, as config/ has them.  Never loaded.

--- Settings of websocket.listener. The text of a setting begins with its default.
---@class websocket.ListenerConfig
---@field host? string "0.0.0.0"; where a port alone is bound
---@field timeout? number 120 seconds for reading the upgrade request; 0 for no limit
---@field headerTimeout? number 10 seconds for the whole request head; 0 for no limit
---@field maxConnections? integer 0, no limit; in each worker
---@field maxConnectionsPerAddress? integer 0, no limit; in each worker; of IPv6 a /64 is one
---@field backlog? integer 4096; connections that the kernel keeps until they are accepted
---@field server? string "", no Server header
---@field webSocketCompressionEnabled? boolean true
---@field compression? websocket.Compression
---@field secureSocket? websocket.SecureSocket none: no TLS
---@field requestLimits? websocket.RequestLimits

---@class websocket.RequestLimits
---@field maxUriLength? integer 4096 bytes of the request's target; past it 414
---@field maxHeaderSize? integer 8192 bytes of all header lines; past it 431

---@class websocket.Compression
---@field level? integer 1 (fast) to 9 (small); 1, or 6 where contexts are kept
---@field memLevel? integer 5; 1 to 9
---@field windowBits? integer 12; 9 to 15
---@field serverNoContextTakeover? boolean true
---@field clientNoContextTakeover? boolean true
---@field threshold? integer 256 bytes; shorter messages are sent as they are

---@class websocket.SecureSocket
---@field key websocket.SecureKey the server's certificate and its key
---@field mutualSsl? websocket.MutualSsl none: clients need no certificate
---@field protocol? websocket.SecureProtocol
---@field ciphers? string[] {}: OpenSSL's choice; names of OpenSSL or IANA, best first
---@field shareSession? boolean true; clients that return may resume their session
---@field handshakeTimeout? number 10 seconds for the TLS handshake; 0 for no limit
---@field sessionTimeout? integer 7200 seconds that a session can be resumed for, at most 86400

--- PEM files (certFile, keyFile, keyPassword), or a PKCS#12 file (path, password).
---@class websocket.SecureKey
---@field certFile? string the server's certificate and those between it and the root
---@field keyFile? string
---@field keyPassword? string
---@field path? string
---@field password? string

---@class websocket.MutualSsl
---@field verifyClient? "REQUIRE"|"OPTIONAL" "REQUIRE"; "OPTIONAL" also lets in who has no certificate
---@field cert string|{ path: string, password?: string } the authorities that have signed clients' certificates

---@class websocket.SecureProtocol
---@field name? "TLS" "TLS"
---@field versions? ("TLSv1.2"|"TLSv1.3")[] { "TLSv1.2", "TLSv1.3" }

--- Settings of listener:attach. The text of a setting begins with its default.
---@class websocket.RouteConfig
---@field subProtocols? string[] {}
---@field idleTimeout? number 0, never
---@field maxFrameSize? integer 0: what comes in may fill maxMessageSize, what goes out is cut at 65536
---@field maxMessageSize? integer 1048576
---@field maxFragments? integer 1024
---@field messageTimeout? number 30
---@field connectionClosureTimeout? number 60; -1 for ever
---@field pingInterval? number 30; 0: no pings
---@field pongTimeout? number 20; 0: no limit
---@field writeTimeout? number 30; 0: no limit
---@field maxBufferedBytes? integer 1048576
---@field slowConsumer? "close"|"drop" "close"
---@field dispatcherKey? string the field of JSON messages that says which callback gets them
---@field dispatcherStreamId? string the field that says to which request a message belongs
---@field validation? boolean true; false: bound values are not held against their limits, only types are checked
---@field allowedOrigins? string[]

--- Options of websocket.service.
---@class websocket.ServiceOptions
