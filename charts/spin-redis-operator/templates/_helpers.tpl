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
  verbs: [patch, update]
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
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
