-- Everything that changes a group of replicas, in one place and at once: a script runs alone on its server, so the change and the
-- marker that tells of it stand at one place in the order of messages.
--
-- KEYS[1]  the group: a hash
--            birth       "<run id>-<microseconds>" of when this hash began: after a restart or a failover nobody has a place in
--                        the order any more, and after a FLUSHALL nobody is known
--            last        when this script ran last, ms
--            epoch       number of the last marker
--            list        the members that it named: "id set id set ..."
--            m:<id>      "<last beat, ms> <in|out|cut|lost> <set> <expiry, ms> <report>"
--            t:<id>      which of the messages that are tried after a crash it has in hand: "<epoch>.<class>.<position>,..." or "-", written
--                        by the replica itself, before it begins one
--            s:<set>     what a set of subscriptions holds
--            d:<id>      when it was told to be dead, ms: one that comes all the same, to a group that had forgotten it, stays dead
-- ARGV     operation, id, control channel, signing key, expiry in ms, set, report, birth and epoch as the caller knows them, text of the set,
--          "id report id report ..." of those that were known to one whose group was forgotten: they may be dead by now
--            join    from the marker that follows on it is a member; also what one does whose group was forgotten while its connection
--                    lived
--            beat    it lives, and this is its report
--            leave   from the marker that follows on it owns nothing new; it beats until it says final
--            cut     the same, and others do what its report says that it has not seen
--            return  it only finishes what it owned, in a group that has forgotten it; one that was cut off says so again after it
--            final   everything it owned is finished
--            gave    it stops; others do what its report says that it has not finished
-- Returns  "known|unknown|reborn <birth> <epoch>", then a line for each record: "<id> <in|out|cut|lost> <ms since its beat> <report>"

-- A number that is one: what a stranger wrote must not become infinite, or no number at all, for everybody.
local function whole(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text) or nil
end

local group = KEYS[1]
local operation, id, channel, key, expiry = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local set, report, birth, epoch, text, known = ARGV[6], ARGV[7], ARGV[8], whole(ARGV[9]) or 0, ARGV[10], ARGV[11]

-- A script that fails is not undone. So what is written waits until the marker is out: who may not publish changes nothing. And before the
-- marker every command is tried without an effect: who may not write tells nothing.
-- HSET is the first: a server without memory refuses it only before anything else was written. What is left when one is refused expires.
redis.call('HSET', group, '-', '-')
local kept = redis.pcall('PEXPIRE', group, math.max(60000, expiry * 20))
redis.call('HDEL', group, '-')
if type(kept) == 'table' and kept.err then
  return kept
end
local writes = {}
local function write(...)
  table.insert(writes, { ... })
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '-'

local fields, stored, records, sets, trying, dead = redis.call('HGETALL', group), {}, {}, {}, {}, {}
for place = 1, #fields, 2 do
  stored[fields[place]] = fields[place + 1]
end
if stored.birth == nil or string.match(stored.birth, '^%w+') ~= run then
  for field in pairs(stored) do
    write('HDEL', group, field)
  end
  stored = { birth = run .. '-' .. time[1] .. string.format('%06d', tonumber(time[2])), list = '' }
  write('HSET', group, 'birth', stored.birth, 'list', '')
end
-- Nobody ran this for so long: the server stood still, or its clock was moved. That is nobody's death.
local stillness = now - (whole(stored.last) or now)
if stillness >= 0 and stillness <= expiry / 2 then
  stillness = 0
end
for field, value in pairs(stored) do
  local name = string.match(field, '^m:(.+)$')
  if name then
    local beat, state, of, patience, told = string.match(value, '^(%d+) (%a+) (%w+) (%d+) (%S+)$')
    beat, patience = whole(beat), whole(patience)
    if beat and patience then
      -- A beat of the future counts as one of now, and is written down as that: it must not keep anybody for ever.
      local ahead = beat + stillness > now
      records[name] = { beat = ahead and now or beat + stillness, changed = ahead, state = state, set = of, expiry = patience, report = told }
    else
      write('HDEL', group, field) -- nobody of ours wrote that
    end
  elseif string.sub(field, 1, 2) == 's:' then
    sets[string.sub(field, 3)] = value
  elseif string.sub(field, 1, 2) == 't:' then
    trying[string.sub(field, 3)] = string.match(value, '^[%x%.,]+$') or '-'
  elseif string.sub(field, 1, 2) == 'd:' then
    -- Whoever has not come back by then has an end too.
    local age = now - (whole(value) or 0)
    if age >= 0 and age <= expiry * 20 then
      dead[string.sub(field, 3)] = true
    else
      write('HDEL', group, field)
    end
  end
end
-- Epochs only go up, also past those that a FLUSHALL has made the server forget, whoever comes first after it: so the first one is
-- the time.
local last = math.max(whole(stored.epoch) or now, epoch)

local departed = {}
local function depart(name, how, told)
  if how == 'died' then
    told = told .. ' ' .. (trying[name] or '-')
    write('HSET', group, 'd:' .. name, now)
  end
  records[name] = nil
  write('HDEL', group, 'm:' .. name)
  table.insert(departed, 'departed ' .. name .. ' ' .. how .. ' ' .. told)
end

local mine, returned = records[id], nil
local status = 'known'
if mine == nil or mine.state == 'lost' then
  if dead[id] then
    status, mine = 'unknown', nil -- others do what it had not finished
  elseif operation == 'join' then
    mine = { state = 'in', set = set }
  elseif birth ~= stored.birth or (mine and operation ~= 'return') then
    status, mine = 'reborn', nil -- the caller says next what it is: a member still, or one that finishes
  elseif operation == 'return' then
    mine = { state = 'out', set = set }
    returned = id .. ' ' .. set
  else
    status = 'unknown' -- it was removed, and what it had not finished is done by others
  end
  -- Whoever is not heard of again is dead, and others do what it had not finished.
  for name, told in string.gmatch(mine and known or '', '(%S+) (%S+)') do
    if not dead[name] then
      records[name] = records[name] or { beat = now, state = 'lost', set = set, expiry = expiry, report = told, changed = true }
    end
  end
end
if mine and (operation == 'final' or operation == 'gave') then
  depart(id, operation, report)
elseif mine then
  if operation == 'join' and text ~= '' and sets[set] == nil then
    sets[set] = text
    write('HSET', group, 's:' .. set, text)
  elseif operation == 'cut' and mine.state ~= 'cut' then
    -- Also one that leaves may not have received all that it owned before its marker.
    mine.state = 'cut'
    table.insert(departed, 'departed ' .. id .. ' cut ' .. report)
  elseif operation == 'leave' and mine.state == 'in' then
    mine.state = 'out'
  end
  mine.beat, mine.expiry, mine.report, mine.changed = now, expiry, report, true
  records[id] = mine
end

local names = {}
for name, record in pairs(records) do
  if now - record.beat > record.expiry then
    depart(name, 'died', record.report)
  else
    table.insert(names, name)
    if record.changed or stillness ~= 0 then
      local value = string.format('%d %s %s %d %s', record.beat, record.state, record.set, record.expiry, record.report)
      write('HSET', group, 'm:' .. name, value)
    end
  end
end
table.sort(names)
for name in pairs(trying) do
  if not records[name] then
    write('HDEL', group, 't:' .. name)
  end
end

local members, used, kinds = {}, {}, 0
for _, name in ipairs(names) do
  if records[name].state == 'in' then
    table.insert(members, name .. ' ' .. records[name].set)
  end
  used[records[name].set] = true
end
local list = table.concat(members, ' ')
if list ~= stored.list or #departed > 0 or returned then
  last = last + 1
  local lines = { 'epoch ' .. last }
  for _, member in ipairs(members) do
    table.insert(lines, 'member ' .. member)
  end
  for name, of in string.gmatch(stored.list, '(%S+) (%S+)') do
    table.insert(lines, 'before ' .. name .. ' ' .. of)
    used[of] = true
  end
  if returned then
    -- The hash had forgotten that it was one; the marker tells it that it is one no more.
    table.insert(lines, 'before ' .. returned)
    used[set] = true
  end
  for _, line in ipairs(departed) do
    table.insert(lines, line)
  end
  for of in pairs(used) do
    kinds = kinds + 1
  end
  -- Who has the same subscriptions as all others need not be told what they are.
  for of, content in pairs(sets) do
    if used[of] and kinds > 1 then
      table.insert(lines, 'set ' .. of .. ' ' .. content)
    elseif not used[of] then
      write('HDEL', group, 's:' .. of)
    end
  end
  local body = table.concat(lines, '\n') .. '\n'
  write('HSET', group, 'list', list)
  redis.call('PUBLISH', channel, redis.sha1hex(key .. body) .. '\n' .. body)
end
write('HSET', group, 'epoch', last, 'last', now)
for _, words in ipairs(writes) do
  redis.call(unpack(words))
end
-- What nobody beats for is forgotten.
redis.call('PEXPIRE', group, math.max(60000, expiry * 20))

local answer = { status .. ' ' .. stored.birth .. ' ' .. last }
for _, name in ipairs(names) do
  local record = records[name]
  table.insert(answer, name .. ' ' .. record.state .. ' ' .. (now - record.beat) .. ' ' .. record.report)
end
return table.concat(answer, '\n') .. '\n'
