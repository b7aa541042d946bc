-- The health of a SpinRedisApp for Argo CD, which knows no new kinds by itself. For the ConfigMap argocd-cm, as the key
-- resource.customizations.health.spinredis.dev_SpinRedisApp; docs/operations.md shows how.
--
--   Healthy      all replicas of this generation are subscribed, or none are wanted
--   Degraded     only an edit helps (Stalled), or no pod is subscribed and somebody has to act
--   Progressing  everything else: under way, or waiting for what may still come in the same sync
--
-- While pods of an earlier generation serve, an edit that has not come through yet is Progressing and not Degraded: nothing is
-- down, and Kubernetes gives it ten minutes before the operator calls it Stalled.

-- Nobody but a person mends these.
local needs_somebody = {
  RedisAuthFailed = true,
  RedisPermission = true,
  PrepareFailed = true,
  RuntimeFailed = true,
}

-- A new app may wait for these without anything being wrong: a Secret, an image or Redis itself may come in the same sync. An
-- app that did serve and no longer does is down.
local may_still_come = {
  MissingReference = true,
  RegistryError = true,
  ImagePullFailed = true,
  RedisUnreachable = true,
  Unschedulable = true,
}

local function health(status, message)
  return { status = status, message = message }
end

local metadata = obj.metadata or {}
local status = obj.status or {}

if metadata.deletionTimestamp ~= nil then
  return health("Progressing", "the app is being deleted")
end
if type(status.conditions) ~= "table" or status.observedGeneration ~= metadata.generation then
  return health("Progressing", "the operator has not seen this generation of the app yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  if type(condition) == "table" and condition.type ~= nil then
    conditions[condition.type] = condition
  end
end

local function is_true(type_)
  return conditions[type_] ~= nil and conditions[type_].status == "True"
end

local ready = conditions.Ready
if ready == nil then
  return health("Progressing", "the operator has not said yet how the app fares")
end
local reason = ready.reason or ""
local message = ready.message or ""
if ready.status == "True" then
  return health("Healthy", message)
end
message = reason .. ": " .. message
if is_true("Stalled") then
  return health("Degraded", message)
end

-- All conditions are written first at the same time, and a time changes only with its condition: when Available turned later
-- than Stalled, it was True before. RFC 3339 in UTC sorts as text.
local function served_before()
  local available, stalled = conditions.Available, conditions.Stalled
  if available == nil or stalled == nil then
    return false
  end
  return (available.lastTransitionTime or "") > (stalled.lastTransitionTime or "")
end

if not is_true("Available") then
  if needs_somebody[reason] or (may_still_come[reason] and served_before()) then
    return health("Degraded", message)
  end
end
return health("Progressing", message)
