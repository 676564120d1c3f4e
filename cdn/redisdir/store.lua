-- Stores an announcement, and publishes it.
-- KEYS: the hash from nodes to announcements, and the sorted set of when their leases
-- end, in milliseconds of this server's clock, which decides only when fields are pruned.
local hash, ends = KEYS[1], KEYS[2]
local node, seq, lease, value, channel, kind, publication, epoch, alike = unpack(ARGV)

-- Numbers are texts without leading zeros: they are greater than Lua's are exact.
local function less(a, b)
	if #a ~= #b then return #a < #b end
	return a < b
end

local function parse(raw)
	local ok, v = pcall(cjson.decode, raw)
	if ok and type(v) == 'table' and type(v.seq) == 'string' then return v end
	return {seq = '0'} -- somebody else's
end

local function entry(v)
	local e = v.entry
	if type(e) == 'table' and type(e.epoch) == 'string' then return e end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = redis.call('ZRANGEBYSCORE', ends, '-inf', now)
for _, n in ipairs(dead) do
	redis.call('HDEL', hash, n)
	redis.call('ZREM', ends, n)
end

local raw = redis.call('HGET', hash, node)
local old = raw and parse(raw)
if old and old.seq ~= seq and not less(old.seq, seq) then return {'behind', old.seq} end

local keep = false -- what is there of the node
if kind == 'entry' then
	local lower = {}
	local all = redis.call('HGETALL', hash)
	for i = 1, #all, 2 do
		if alike == '' or not string.find(all[i + 1], alike, 1, true) then
			local e = entry(parse(all[i + 1]))
			if e and (e.publication or '') == publication then
				if less(epoch, e.epoch) then return {'stale', all[i], e.epoch} end
				if less(e.epoch, epoch) and all[i] ~= node then table.insert(lower, all[i]) end
			end
		end
	end
	for _, n in ipairs(lower) do
		redis.call('HDEL', hash, n)
		redis.call('ZREM', ends, n)
	end
elseif kind == 'gone' and old then
	local e = entry(old)
	keep = e ~= nil and e.epoch ~= epoch
end

if not keep then
	redis.call('HSET', hash, node, value)
	redis.call('ZADD', ends, now + lease, node)
	for _, key in ipairs(KEYS) do
		if redis.call('PTTL', key) < tonumber(lease) then redis.call('PEXPIRE', key, lease) end
	end
end
redis.call('PUBLISH', channel, value)
return {'ok'}
