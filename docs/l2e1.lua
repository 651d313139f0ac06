-- Wireshark dissector of L2E/1: orders in, immediate answers out. Layout: docs/wire.md.
--
--   wireshark -X lua_script:docs/l2e1.lua capture.pcap
--   tshark    -X lua_script:docs/l2e1.lua -r capture.pcap -Y 'l2e1.ack.result == "R"'
--
-- Knows the bytes and no session's state: a tag is shown and not verified, a duplicate looks like any other packet. What is
-- no packet of ours is marked with the name of its cause, which is the shard's counter (`l2e1.malformed`).

local l2e1 = Proto("l2e1", "Ring0 L2E/1")

local TIME_IN_FORCE = {
  [0] = "day", "good till cancel", "immediate or cancel", "fill or kill", "good till time",
}
local SELF_TRADE = {
  [0] = "as the account", "cancel newest", "cancel oldest", "cancel both", "decrement and cancel",
}
local RESULTS = {
  A = "accepted", R = "rejected", C = "continues", N = "not taken", O = "answered before",
}
local LETTERS = {
  A = "enter", F = "enter for a sub-account", O = "enter, extended", U = "replace", X = "reduce",
  D = "cancel", M = "mass cancel", K = "ack", z = "tag",
}
-- Reason numbers of an ack: docs/wire.md#reasons.
local REASONS = {
  [0] = "None",
  [1] = "Hole",
  [2] = "Straddle",
  [3] = "Busy",
  [4] = "RingFull",
  [5] = "RateLimited",
  [6] = "Halted",
  [7] = "Answered",
  [16] = "ReferenceNotRising",
  [17] = "SessionKilled",
  [18] = "SessionExpired",
  [19] = "Continuing",
  [20] = "PacketFills",
  [22] = "AccountKilled",
  [23] = "NotTogether",
  [24] = "WrongTradeGroup",
  [32] = "UnknownInstrument",
  [33] = "StockMismatch",
  [34] = "InstrumentHalted",
  [35] = "WrongInstrument",
  [36] = "MarketClosed",
  [37] = "NotInAuction",
  [38] = "WrongShard",
  [48] = "NotATick",
  [49] = "NotALot",
  [50] = "OrderTooLarge",
  [51] = "OffLadder",
  [52] = "PriceBand",
  [53] = "NotionalTooLarge",
  [54] = "Funds",
  [55] = "UnsettledLimit",
  [56] = "WouldCross",
  [57] = "NotFillable",
  [58] = "FokTooDeep",
  [59] = "DynamicBand",
  [60] = "FatFinger",
  [61] = "BadTrigger",
  [62] = "WouldTrigger",
  [63] = "AlreadyExpired",
  [64] = "BookFull",
  [65] = "LevelsFull",
  [66] = "TooManyLive",
  [67] = "PegsFull",
  [68] = "RiskShares",
  [69] = "RiskNotional",
  [70] = "RiskOrders",
  [80] = "UnknownOrder",
  [96] = "FieldLetter",
  [97] = "TrackingNotZero",
  [98] = "TimestampNotZero",
  [99] = "ReferenceTooLarge",
  [100] = "ReferenceZero",
  [101] = "SideUnknown",
  [102] = "SharesZero",
  [103] = "FlagUnknown",
  [104] = "TimeInForceUnknown",
  [105] = "SelfTradeUnknown",
  [106] = "PostOnlyTwice",
  [107] = "PostOnlyImmediate",
  [108] = "PostOnlyMarket",
  [109] = "ExpiryMissing",
  [110] = "ExpiryUnasked",
  [111] = "ExpiryTooLate",
  [112] = "MinimumAboveShares",
  [113] = "DisplayAboveShares",
  [114] = "DisplayOfHidden",
  [115] = "PegUnknown",
  [116] = "PegOffsetUnasked",
  [117] = "ScopeUnknown",
  [118] = "KillUnknown",
  [119] = "ReservedNotZero",
}

local f = {
  session = ProtoField.string("l2e1.session", "Session"),
  index = ProtoField.uint32("l2e1.session.index", "Session index"),
  nonce = ProtoField.uint32("l2e1.session.nonce", "Session nonce"),
  sequence = ProtoField.uint64("l2e1.sequence", "Client sequence"),
  count = ProtoField.uint16("l2e1.count", "Count"),
  direction = ProtoField.string("l2e1.direction", "Direction"),
  block = ProtoField.uint16("l2e1.block.length", "Block length"),
  letter = ProtoField.string("l2e1.letter", "Letter"),
  locate = ProtoField.uint16("l2e1.locate", "Locate"),
  tracking = ProtoField.uint16("l2e1.tracking", "Tracking", base.HEX),
  time = ProtoField.uint16("l2e1.flags.time", "Time in force", base.DEC, TIME_IN_FORCE, 0x0007),
  post_reject = ProtoField.bool("l2e1.flags.post_reject", "Post-only, reject", 16, nil, 0x0008),
  post_slide = ProtoField.bool("l2e1.flags.post_slide", "Post-only, slide", 16, nil, 0x0010),
  self_trade = ProtoField.uint16("l2e1.flags.self_trade", "Self-trade", base.DEC, SELF_TRADE, 0x00e0),
  hidden = ProtoField.bool("l2e1.flags.hidden", "Hidden", 16, nil, 0x0100),
  market = ProtoField.bool("l2e1.flags.market", "Market", 16, nil, 0x0200),
  unknown = ProtoField.uint16("l2e1.flags.unknown", "Unknown flags", base.HEX, nil, 0xfc00),
  timestamp = ProtoField.uint64("l2e1.timestamp", "Timestamp"),
  reference = ProtoField.uint64("l2e1.reference", "Client reference"),
  side = ProtoField.string("l2e1.side", "Side"),
  shares = ProtoField.uint32("l2e1.shares", "Shares"),
  stock = ProtoField.string("l2e1.stock", "Stock"),
  price = ProtoField.uint32("l2e1.price", "Price (1/10,000)"),
  sub_account = ProtoField.string("l2e1.sub_account", "Sub-account"),
  minimum = ProtoField.uint32("l2e1.minimum", "Minimum"),
  display = ProtoField.uint32("l2e1.display", "Display"),
  trigger = ProtoField.uint32("l2e1.trigger", "Trigger price (1/10,000)"),
  expiry = ProtoField.uint32("l2e1.expiry", "Expiry (second of the day)"),
  peg = ProtoField.uint8("l2e1.peg", "Peg"),
  peg_offset = ProtoField.int8("l2e1.peg_offset", "Peg offset (ticks)"),
  trade_group = ProtoField.uint16("l2e1.trade_group", "Trade group"),
  new_reference = ProtoField.uint64("l2e1.new_reference", "New client reference"),
  scope = ProtoField.string("l2e1.scope", "Scope"),
  kill = ProtoField.uint8("l2e1.kill", "Kill"),
  reserved = ProtoField.uint8("l2e1.reserved", "Reserved"),
  result = ProtoField.string("l2e1.ack.result", "Result"),
  reason = ProtoField.uint8("l2e1.ack.reason", "Reason", base.DEC, REASONS),
  ack_reference = ProtoField.uint32("l2e1.ack.reference", "Reference (low half)"),
  quantity = ProtoField.uint32("l2e1.ack.quantity", "Quantity"),
  venue = ProtoField.uint64("l2e1.ack.sequence", "Venue sequence"),
  tag = ProtoField.bytes("l2e1.tag", "Tag"),
  malformed = ProtoField.string("l2e1.malformed", "Malformed"),
}
l2e1.fields = f

local bad = ProtoExpert.new("l2e1.expert.malformed", "no packet of L2E/1", expert.group.MALFORMED, expert.severity.ERROR)
local rejected = ProtoExpert.new("l2e1.expert.rejected", "message rejected", expert.group.RESPONSE_CODE, expert.severity.NOTE)
local not_taken = ProtoExpert.new("l2e1.expert.not_taken", "packet not taken", expert.group.RESPONSE_CODE, expert.severity.WARN)
l2e1.experts = { bad, rejected, not_taken }

-- The daemon's example (docs/operations.md) and the laboratory.
l2e1.prefs.ports = Pref.range("UDP ports", "4400,9000", "UDP ports of shards", 65535)

local ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
local HEADER, PAYLOAD_MAX, COUNT_MAX = 20, 1472, 69
local LENGTHS = { A = 36, F = 40, O = 56, U = 35, X = 23, D = 19, M = 23, z = 17 }

-- The number that letters of the alphabet stand for, or nil.
local function number_of(letters)
  local number = 0
  for at = 1, #letters do
    local digit = ALPHABET:find(letters:sub(at, at), 1, true)
    if not digit then return nil end
    number = number * 32 + digit - 1
  end
  return number
end

-- Why this is no packet of ours: the first cause in the order of the bytes (docs/wire.md). An answer is walked the same way.
local function shape(tvb)
  local len = tvb:len()
  if len < HEADER then return "too_short" end
  if len > PAYLOAD_MAX then return "too_long" end
  if not number_of(tvb:raw(0, 4)) then return "bad_session" end
  local count = tvb(18, 2):uint()
  if count == 0 then return "count_zero" end
  if count == 0xffff then return "count_end_of_session" end
  if count > COUNT_MAX then return "count_too_large" end
  local at = HEADER
  for block = 1, count do
    if at + 3 > len then return "overrun" end
    local bytes, letter = tvb(at, 2):uint(), tvb:raw(at + 2, 1)
    local wanted = letter == "K" and 19 or LETTERS[letter] and LENGTHS[letter]
    if not wanted then return "unknown_letter" end
    if bytes ~= wanted then return "bad_block_length" end
    if at + 2 + bytes > len then return "overrun" end
    if letter == "z" and block < count then return "tag_not_last" end
    if letter ~= "z" and block == count then return "no_tag" end
    at = at + 2 + bytes
  end
  if at < len then return "trailing_bytes" end
  return nil
end

local function flags(tree, at)
  local branch = tree:add(f.tracking, at)
  for _, field in ipairs({ f.time, f.post_reject, f.post_slide, f.self_trade, f.hidden, f.market, f.unknown }) do
    branch:add(field, at)
  end
end

local function price_of(at)
  return string.format("%d.%04d", math.floor(at:uint() / 10000), at:uint() % 10000)
end

-- Side, shares, stock and price of the three that enter.
local function order(tree, m)
  tree:add(f.side, m(19, 1))
  tree:add(f.shares, m(20, 4))
  tree:add(f.stock, m(24, 8))
  tree:add(f.price, m(32, 4)):append_text(" = " .. price_of(m(32, 4)))
  return string.format("%s %u @ %s", m:raw(19, 1), m(20, 4):uint(), price_of(m(32, 4)))
end

local BODY = {
  A = order,
  F = function(tree, m)
    local text = order(tree, m)
    tree:add(f.sub_account, m(36, 4))
    return text
  end,
  O = function(tree, m)
    local text = order(tree, m)
    tree:add(f.minimum, m(36, 4))
    tree:add(f.display, m(40, 4))
    tree:add(f.trigger, m(44, 4))
    tree:add(f.expiry, m(48, 4))
    tree:add(f.peg, m(52, 1))
    tree:add(f.peg_offset, m(53, 1))
    tree:add(f.trade_group, m(54, 2))
    return text
  end,
  U = function(tree, m)
    tree:add(f.new_reference, m(19, 8))
    tree:add(f.shares, m(27, 4))
    tree:add(f.price, m(31, 4)):append_text(" = " .. price_of(m(31, 4)))
    return string.format("to %s: %u @ %s", tostring(m(19, 8):uint64()), m(27, 4):uint(), price_of(m(31, 4)))
  end,
  X = function(tree, m)
    tree:add(f.shares, m(19, 4))
    return string.format("by %u", m(19, 4):uint())
  end,
  D = function() return "" end,
  M = function(tree, m)
    tree:add(f.scope, m(19, 1))
    tree:add(f.side, m(20, 1))
    tree:add(f.kill, m(21, 1))
    tree:add(f.reserved, m(22, 1))
    return m:raw(19, 1) == "A" and "of the account" or "of the session"
  end,
}

local function message(tree, m, letter)
  tree:add(f.letter, m(0, 1))
  tree:add(f.locate, m(1, 2))
  if letter == "A" or letter == "F" or letter == "O" then
    flags(tree, m(3, 2))
  else
    tree:add(f.tracking, m(3, 2))
  end
  tree:add(f.timestamp, m(5, 6))
  tree:add(f.reference, m(11, 8))
  local text = BODY[letter](tree, m)
  tree:append_text(string.format(": %s #%s %s", LETTERS[letter], tostring(m(11, 8):uint64()), text))
end

local function ack(tree, m)
  tree:add(f.letter, m(0, 1))
  local result, reason = m:raw(1, 1), m(2, 1):uint()
  local of = tree:add(f.result, m(1, 1)):append_text(" (" .. (RESULTS[result] or "unknown") .. ")")
  tree:add(f.reason, m(2, 1))
  tree:add(f.ack_reference, m(3, 4))
  tree:add(f.quantity, m(7, 4))
  tree:add(f.venue, m(11, 8))
  local text = RESULTS[result] or "unknown result"
  if reason ~= 0 then text = text .. ", " .. (REASONS[reason] or "reason " .. reason) end
  tree:append_text(string.format(": #%u %s, quantity %u", m(3, 4):uint(), text, m(7, 4):uint()))
  if result == "R" then of:add_proto_expert_info(rejected) end
  if result == "N" then of:add_proto_expert_info(not_taken) end
end

-- Whether the packet goes to a shard: heartbeats look alike in both directions, so the port decides.
local function is_answer(tvb, pinfo, ports)
  if tvb:len() > 22 and tvb:raw(22, 1) == "K" then return true end
  return tvb:len() == 39 and ports[pinfo.src_port] == true and not ports[pinfo.dst_port]
end

local shards = {}

function l2e1.dissector(tvb, pinfo, root)
  pinfo.cols.protocol = "L2E/1"
  local tree = root:add(l2e1, tvb())
  local cause = shape(tvb)
  if cause then
    tree:add(f.malformed, tvb(), cause):add_proto_expert_info(bad, "no packet of L2E/1: " .. cause)
    pinfo.cols.info = "malformed: " .. cause
    return tvb:len()
  end
  local letters, count = tvb:raw(0, 10), tvb(18, 2):uint()
  local id = tree:add(f.session, tvb(0, 10))
  id:add(f.index, tvb(0, 4), number_of(letters:sub(1, 4)))
  local nonce = number_of(letters:sub(5))
  if nonce then id:add(f.nonce, tvb(4, 6), nonce) end
  tree:add(f.sequence, tvb(10, 8))
  tree:add(f.count, tvb(18, 2))
  local direction = is_answer(tvb, pinfo, shards) and "answer" or "request"
  tree:add(f.direction, tvb(0, 0), direction):set_generated()
  local at, seen = HEADER, {}
  for _ = 1, count do
    local bytes, letter = tvb(at, 2):uint(), tvb:raw(at + 2, 1)
    local block = tree:add(l2e1, tvb(at, 2 + bytes), letter)
    block:add(f.block, tvb(at, 2))
    local m = tvb(at + 2, bytes):tvb()
    if letter == "z" then
      block:add(f.letter, m(0, 1))
      block:add(f.tag, m(1, 16))
      block:append_text(": tag")
    elseif letter == "K" then
      ack(block, m)
      seen[#seen + 1] = m:raw(1, 1)
    else
      message(block, m, letter)
      seen[#seen + 1] = letter
    end
    at = at + 2 + bytes
  end
  local what = #seen == 0 and "heartbeat" or table.concat(seen)
  pinfo.cols.info = string.format("%s %s seq %s: %s", direction, letters, tostring(tvb(10, 8):uint64()), what)
  return tvb:len()
end

local registered = nil

-- "4400,9000-9003" as a table of numbers.
local function ports_of(range)
  local ports = {}
  for from, to in tostring(range):gmatch("(%d+)%-?(%d*)") do
    for port = tonumber(from), tonumber(to ~= "" and to or from) do ports[port] = true end
  end
  return ports
end

local function register()
  local range = tostring(l2e1.prefs.ports)
  if range == registered then return end
  local udp = DissectorTable.get("udp.port")
  for port in pairs(shards) do udp:remove(port, l2e1) end
  shards, registered = ports_of(range), range
  for port in pairs(shards) do udp:add(port, l2e1) end
end

function l2e1.init() register() end
function l2e1.prefs_changed() register() end
register()
