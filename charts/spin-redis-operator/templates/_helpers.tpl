{{- define "spin-redis-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "spin-redis-operator.fullname" -}}
{{- $name := include "spin-redis-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "spin-redis-operator.serviceAccountName" -}}
{{- default (include "spin-redis-operator.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "spin-redis-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "spin-redis-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "spin-redis-operator.labels" -}}
{{ include "spin-redis-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image by its digest, else by its tag, else by the chart's appVersion: dict "image" … "version" … */}}
{{- define "spin-redis-operator.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .version .image.tag }}
{{- end }}
{{- end }}

{{/* What the operator may do with namespaced objects, and nothing on Secrets. */}}
{{- define "spin-redis-operator.rules" -}}
- apiGroups: [spinredis.dev]
  resources: [spinredisapps]
  verbs: [get, list, watch]
- apiGroups: [spinredis.dev]
  resources: [spinredisapps/status]
  verbs: [patch]
# Some clusters ask for this of whoever makes an object that blocks the deletion of its owner.
- apiGroups: [spinredis.dev]
  resources: [spinredisapps/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
# Deleted is a pod that runs other bytes than those its app is pinned to.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# For the selectors and ports of NetworkPolicies.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* Whether this release may bring objects of the whole cluster beside the CRD: not one that watches namespaces and leaves the CRD to another. */}}
{{- define "spin-redis-operator.clusterWide" -}}
{{- if or (not .Values.watchNamespaces) .Values.crds.enabled }}true{{ end }}
{{- end }}

{{/* The registries that need more than a flag, as the operator reads them; nothing when there are none. */}}
{{- define "spin-redis-operator.registries" -}}
{{- $registries := list }}
{{- range .Values.runtime.registries }}
{{- if or .caConfigMap .mirror }}
{{- $registry := dict "host" .host }}
{{- if .plainHTTP }}{{ $_ := set $registry "plainHTTP" true }}{{ end }}
{{- with .caConfigMap }}{{ $_ := set $registry "caFile" (printf "/etc/spin-redis-operator/authorities/%s/ca.crt" .) }}{{ end }}
{{- with .mirror }}{{ $_ := set $registry "mirror" . }}{{ end }}
{{- $registries = append $registries $registry }}
{{- end }}
{{- end }}
{{- with $registries }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* The names of the ConfigMaps with authorities of registries, each once, as a YAML list. */}}
{{- define "spin-redis-operator.authorities" -}}
{{- $names := list }}
{{- range .Values.runtime.registries }}
{{- with .caConfigMap }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- $names | uniq | sortAlpha | toYaml }}
{{- end }}

{{/* Name of everything that `helm test` makes: an app's name is at most 52 characters long. */}}
{{- define "spin-redis-operator.testName" -}}
{{ include "spin-redis-operator.fullname" . | trunc 47 | trimSuffix "-" }}-test
{{- end }}

{{/* Where the app of `helm test` runs: a namespace whose apps are run. */}}
{{- define "spin-redis-operator.testNamespace" -}}
{{- if .Values.tests.namespace }}
{{- .Values.tests.namespace }}
{{- else if or (not .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) }}
{{- .Release.Namespace }}
{{- else }}
{{- first .Values.watchNamespaces }}
{{- end }}
{{- end }}

{{/* Labels of what `helm test` makes: never those that the operator's Deployment and Service select by. */}}
{{- define "spin-redis-operator.testLabels" -}}
app.kubernetes.io/name: {{ include "spin-redis-operator.testName" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Annotations of what `helm test` makes: dict "root" $ "weight" "0", in which order, backwards when it is removed. */}}
{{- define "spin-redis-operator.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation{{ if not .root.Values.tests.keep }},hook-succeeded,hook-failed{{ end }}
{{- end }}

{{/* What the restricted Pod Security Standard asks of a container, and no file system to write to. */}}
{{- define "spin-redis-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What the schema cannot say: each is a sentence that tells what to do. */}}
{{- define "spin-redis-operator.checks" -}}
{{- $hosts := list }}
{{- range .Values.runtime.registries }}
{{- if has .host $hosts }}
{{- fail (printf "runtime.registries names %s twice: write all settings of a registry in one entry" .host) }}
{{- end }}
{{- $hosts = append $hosts .host }}
{{- if and .plainHTTP .caConfigMap }}
{{- fail (printf "runtime.registries: %s has both plainHTTP and caConfigMap: without TLS no authority is asked, so take one of them away" .host) }}
{{- end }}
{{- end }}
{{- if and .Values.tests.enabled .Values.tests.namespace .Values.watchNamespaces (not (has .Values.tests.namespace .Values.watchNamespaces)) }}
{{- fail (printf "tests.namespace is %s, whose apps this release does not run: name one of watchNamespaces (%s), or leave it empty" .Values.tests.namespace (join ", " .Values.watchNamespaces)) }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false: name the ServiceAccount that is there in serviceAccount.name" }}
{{- end }}
{{- if and .Values.rbac.aggregateToEdit (not (include "spin-redis-operator.clusterWide" .)) }}
{{- fail "rbac.aggregateToEdit needs a ClusterRole, which a release with watchNamespaces and without the CRD does not make: set it in the release that has crds.enabled" }}
{{- end }}
{{- end }}
