// kstatus says of Kubernetes objects what GitOps tools say of them: Flux, Helm and others by the kstatus library, Argo CD by a
// health.lua.
//
//	kstatus HEALTH.LUA < OBJECTS
//
// OBJECTS are JSON objects one after the other. For each a line of JSON is printed:
//
//	{"name": "…", "kstatus": "Current", "message": "…", "argocd": "Healthy", "argocdMessage": "…"}
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type verdict struct {
	Name          string `json:"name"`
	Kstatus       string `json:"kstatus"`
	Message       string `json:"message"`
	Argocd        string `json:"argocd"`
	ArgocdMessage string `json:"argocdMessage"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kstatus HEALTH.LUA < OBJECTS")
		os.Exit(2)
	}
	if err := judgeAll(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judgeAll(script string, objects io.Reader, verdicts io.Writer) error {
	lua, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	decoder, encoder := json.NewDecoder(objects), json.NewEncoder(verdicts)
	encoder.SetEscapeHTML(false)
	for number := 1; ; number++ {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		found, err := judge(string(lua), raw)
		if err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		if err := encoder.Encode(found); err != nil {
			return err
		}
	}
}

func judge(lua string, raw json.RawMessage) (verdict, error) {
	// The decoder of API machinery, since kstatus wants whole numbers as int64.
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return verdict{}, err
	}
	computed, err := status.Compute(object)
	if err != nil {
		return verdict{}, fmt.Errorf("kstatus: %w", err)
	}
	health, err := healthOf(lua, object.Object)
	if err != nil {
		return verdict{}, fmt.Errorf("health.lua: %w", err)
	}
	return verdict{
		Name:          object.GetName(),
		Kstatus:       computed.Status.String(),
		Message:       computed.Message,
		Argocd:        health.status,
		ArgocdMessage: health.message,
	}, nil
}
