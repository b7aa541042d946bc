package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// What Argo CD takes as a health status; anything else it calls invalid.
var statuses = []string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

type health struct{ status, message string }

// healthOf runs a health.lua as Argo CD does by default: without the libraries that reach outside, for a second at most, with
// the object as the global obj; what it returns is a table.
func healthOf(script string, object map[string]any) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	deadline, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(deadline)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("it returned a %s and no table", state.Get(-1).Type())
	}
	found := health{text(table, "status"), text(table, "message")}
	if !slices.Contains(statuses, found.status) {
		return health{}, fmt.Errorf("it returned the status %q, which Argo CD does not know", found.status)
	}
	return found, nil
}

func text(table *lua.LTable, field string) string {
	if found, ok := table.RawGetString(field).(lua.LString); ok {
		return string(found)
	}
	return ""
}

// value makes a value of Lua from one of JSON.
func value(state *lua.LState, of any) lua.LValue {
	switch of := of.(type) {
	case bool:
		return lua.LBool(of)
	case string:
		return lua.LString(of)
	case int64:
		return lua.LNumber(of)
	case float64:
		return lua.LNumber(of)
	case []any:
		table := state.NewTable()
		for _, item := range of {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for name, item := range of {
			table.RawSetString(name, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
