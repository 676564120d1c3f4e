-- Returns the announcements in the hash KEYS[1], but for those whose leases, in the
-- sorted set KEYS[2], have ended by this server's clock.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = {}
for _, n in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do dead[n] = true end
local all, live = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
	if not dead[all[i]] then table.insert(live, all[i + 1]) end
end
return live
