{{/*
Tokens. The one in backout's own namespace is for alerts about every target; each AlertmanagerConfig elsewhere has its own, which is for the
targets that it routes: that of its namespace or, with alertmanagerConfig.namespace, all.
*/}}

{{/* auth.existingSecrets as JSON. Values that helm reuses from an earlier version of the chart lack it. */}}
{{- define "backout.existingSecrets" -}}
{{- .Values.auth.existingSecrets | default dict | toJson -}}
{{- end -}}

{{/* The namespaces that have tokens of their own, as a JSON list: those of AlertmanagerConfigs, and those that existingSecrets names. */}}
{{- define "backout.tokenNamespaces" -}}
{{- $existing := include "backout.existingSecrets" . | fromJson -}}
{{- $routed := include "backout.routedNamespaces" . | fromJsonArray -}}
{{- $own := list -}}
{{- range concat $routed (keys $existing | sortAlpha) | uniq -}}
{{- if not (or (has . $routed) (has . (include "backout.namespaces" $ | fromJsonArray))) -}}
{{- fail (printf "auth.existingSecrets names namespace %s, which is neither that of a target nor that of an AlertmanagerConfig" .) -}}
{{- end -}}
{{- if or (hasKey $existing .) (and (ne . $.Release.Namespace) (not $.Values.auth.existingSecret)) -}}
{{- $own = append $own . -}}
{{- end -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{/* Those of them whose tokens the chart generates, as a JSON list. */}}
{{- define "backout.generatedTokens" -}}
{{- $generated := list -}}
{{- range include "backout.tokenNamespaces" . | fromJsonArray -}}
{{- if not (hasKey (include "backout.existingSecrets" $ | fromJson) .) -}}
{{- $generated = append $generated . -}}
{{- end -}}
{{- end -}}
{{- toJson $generated -}}
{{- end -}}

{{/* The key of a namespace's token in the generated Secret; "" is the token for every target. */}}
{{- define "backout.tokenKey" -}}
{{ .root.Values.auth.key }}{{ with .namespace }}.{{ . }}{{ end }}
{{- end -}}

{{/* The Secret with the token that the AlertmanagerConfig of a namespace presents. It is in that namespace. */}}
{{- define "backout.routeSecret" -}}
{{ get (include "backout.existingSecrets" .root | fromJson) .namespace | default (include "backout.tokenSecret" .root) }}
{{- end -}}

{{/* BACKOUT_TOKENS: a file for each namespace of a target, the one for every target, and those of other senders. */}}
{{- define "backout.tokens" -}}
{{- $root := . -}}
{{- $files := list (printf "*:/etc/backout/token/%s" .Values.auth.key) -}}
{{- range $routed := include "backout.tokenNamespaces" . | fromJsonArray -}}
{{- $file := printf "/etc/backout/token/%s" (include "backout.tokenKey" (dict "root" $root "namespace" $routed)) -}}
{{- if hasKey (include "backout.existingSecrets" $root | fromJson) $routed -}}
{{- $file = printf "/etc/backout/token-%s/%s" $routed $root.Values.auth.key -}}
{{- end -}}
{{- $spoken := list $routed -}}
{{- if eq $routed (toString $root.Values.alertmanagerConfig.namespace) -}}
{{- $spoken = include "backout.namespaces" $root | fromJsonArray -}}
{{- end -}}
{{- range $spoken -}}
{{- $files = append $files (printf "%s:%s" . $file) -}}
{{- end -}}
{{- end -}}
{{- range $i, $sender := .Values.auth.senders -}}
{{- if and (eq (toString $sender.confirm) "none") (empty $sender.namespaces) -}}
{{- fail "auth.senders: a sender with confirm none is believed without a question, so it needs namespaces, one by one" -}}
{{- end -}}
{{- range $namespace := $sender.namespaces | default (list "*") -}}
{{- if not (has $namespace (append (include "backout.namespaces" $root | fromJsonArray) "*")) -}}
{{- fail (printf "auth.senders names namespace %s, which is not that of a target" $namespace) -}}
{{- end -}}
{{- $files = append $files (printf "%s:/etc/backout/sender-%d/%s%s" $namespace $i $root.Values.auth.key (ternary (printf ":%s" $sender.confirm) "" (not (empty $sender.confirm)))) -}}
{{- end -}}
{{- end -}}
{{- join "," $files -}}
{{- end -}}
