{{/* The rule files of the preset, as a JSON list, in the order of evaluation that rules/README.md gives; then the one about backout itself. */}}
{{- define "backout.ruleFiles" -}}
{{- $source := printf "sources/%s.yml" .Values.rules.preset -}}
{{- $files := list "thresholds.yml" "objects.yml" "young.yml" $source "tracks.yml" "steps.yml" "errors.yml" "latency.yml" "health.yml" "traffic.yml" -}}
{{- if .Values.rules.own -}}
{{- $files = append $files "backout.rules.yml" -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/*
The groups of all rule files. Groups of the same name are merged, so that each rule sees the series that those before it have recorded. The files
are the repository's own, as promtool reads them; only thresholds, the levels of the sensitivity and the playbooks' URLs are replaced.
*/}}
{{- define "backout.ruleGroups" -}}
{{- $names := list -}}
{{- $rules := dict -}}
{{- $known := list -}}
{{- $sensitivity := get (.Files.Get "files/rules/sensitivities.yml" | fromYaml) .Values.rules.sensitivity -}}
{{- $thresholds := mergeOverwrite (dict) $sensitivity.thresholds .Values.rules.thresholds -}}
{{- $playbooks := .Values.rules.runbookBaseURL -}}
{{- range $file := include "backout.ruleFiles" . | fromJsonArray -}}
{{- $groups := ($.Files.Get (printf "files/rules/%s" $file) | fromYaml).groups | required (printf "the rule file %s is not in the chart" $file) -}}
{{- range $group := $groups -}}
{{- if not (has $group.name $names) -}}
{{- $names = append $names $group.name -}}
{{- end -}}
{{- range $rule := $group.rules -}}
{{- if eq (get $rule "record") "canary_threshold" -}}
{{- $kind := $rule.labels.kind -}}
{{- $known = append $known $kind -}}
{{- if hasKey $thresholds $kind -}}
{{- $_ := set $rule "expr" (get $thresholds $kind | toJson | trimAll "\"" | printf "vector(%s)") -}}
{{- end -}}
{{- end -}}
{{- if has (get $rule "alert") $sensitivity.observe -}}
{{- $_ := set $rule.labels "backout" "observe" -}}
{{- $_ := set $rule.labels "severity" "warning" -}}
{{- end -}}
{{- if and $playbooks (hasKey $rule "annotations") -}}
{{- with $rule.annotations.runbook_url -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s" $playbooks (base .)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $rules $group.name (append (get $rules $group.name | default list) $rule) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $kind, $_ := $thresholds -}}
{{- if not (has $kind $known) -}}
{{- fail (printf "rules.thresholds: there is no threshold %s; there are: %s" $kind (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- range $names }}
- name: {{ . }}
  rules:
    {{- get $rules . | toYaml | nindent 4 }}
{{- end }}
{{- end -}}
