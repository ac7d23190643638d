{{/* The variables of the configuration. Empty values are omitted, so backout's defaults apply. */}}
{{- define "backout.env" -}}
{{- $given := .root.Values -}}
- name: BACKOUT_RELEASES
  value: {{ include "backout.releases" .root | quote }}
{{- if and $given.rbac.create $given.targets (not (hasKey $given.env "BACKOUT_TARGET_ACCOUNTS")) }}
- name: BACKOUT_TARGET_ACCOUNTS
  value: {{ include "backout.targetAccounts" .root | quote }}
{{- end }}
{{- range $name, $value := set (deepCopy $given.config) "grace" (printf "%ds" .grace) }}
{{- if not (or (kindIs "invalid" $value) (has (toString $value) (list "" "[]"))) }}
- name: BACKOUT_{{ snakecase $name | upper }}
  {{- if kindIs "slice" $value }}
  value: {{ join "," $value | quote }}
  {{- else if kindIs "string" $value }}
  value: {{ $value | quote }}
  {{- else }}
  value: {{ toJson $value | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- with $given.alertmanagerConfig }}
{{- $repeat := add (include "backout.seconds" .repeatInterval | int) (mul 2 (include "backout.seconds" .groupInterval | int)) }}
{{- if and .enabled (ne $repeat 360) (not $given.config.repeat) (not (hasKey $given.env "BACKOUT_REPEAT")) }}{{/* backout's default */}}
- name: BACKOUT_REPEAT
  value: {{ printf "%ds" $repeat }}
{{- end }}
{{- end }}
{{- if eq $given.auth.type "bearer" }}
- name: BACKOUT_TOKENS
  value: {{ include "backout.tokens" .root | quote }}
{{- else }}
- name: BACKOUT_AUTH
  value: none
{{- end }}
{{- if $given.tls.secretName }}
- name: BACKOUT_TLS_CERT_FILE
  value: /etc/backout/tls/tls.crt
- name: BACKOUT_TLS_KEY_FILE
  value: /etc/backout/tls/tls.key
{{- end }}
{{- if $given.tls.clientCA.secretName }}
- name: BACKOUT_TLS_CLIENT_CA_FILE
  value: {{ printf "/etc/backout/client-ca/%s" $given.tls.clientCA.key }}
{{- with $given.tls.clientCA.names }}
- name: BACKOUT_TLS_CLIENT_NAMES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := $given.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Go collects garbage more often near this limit: 1,000,000 bytes for each MiB of the container's limit, 95% of it. */}}
{{- define "backout.goMemoryLimit" -}}
{{- $own := false -}}
{{- range .Values.extraEnv -}}
{{- if eq .name "GOMEMLIMIT" -}}
{{- $own = true -}}
{{- end -}}
{{- end -}}
{{- if and (not $own) ((.Values.resources).limits).memory -}}
- name: MEMORY_LIMIT_MIB
  valueFrom:
    resourceFieldRef:
      resource: limits.memory
      divisor: 1Mi
- name: GOMEMLIMIT
  value: $(MEMORY_LIMIT_MIB)000000B
{{- end -}}
{{- end -}}

{{/* The Secrets to mount, by the name of the volume, as JSON. Never by subPath, so that a new value reaches the pod. */}}
{{- define "backout.secrets" -}}
{{- $secrets := dict -}}
{{- if eq .Values.auth.type "bearer" -}}
{{- $_ := set $secrets "token" (include "backout.tokenSecret" .) -}}
{{- range include "backout.tokenNamespaces" . | fromJsonArray -}}
{{- $existing := include "backout.existingSecrets" $ | fromJson -}}
{{- if hasKey $existing . -}}
{{- $_ := set $secrets (printf "token-%s" .) (get $existing .) -}}
{{- end -}}
{{- end -}}
{{- range $i, $sender := .Values.auth.senders -}}
{{- $_ := set $secrets (printf "sender-%d" $i) $sender.secret -}}
{{- end -}}
{{- end -}}
{{- with .Values.tls.secretName -}}
{{- $_ := set $secrets "tls" . -}}
{{- end -}}
{{- with .Values.tls.clientCA.secretName -}}
{{- $_ := set $secrets "client-ca" . -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{- define "backout.mounts" -}}
{{- range $name, $_ := include "backout.secrets" . | fromJson }}
- name: {{ $name }}
  mountPath: /etc/backout/{{ $name }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "backout.volumes" -}}
{{- range $name, $secret := include "backout.secrets" . | fromJson }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
