{{/* Labels of every object of the chart. */}}
{{- define "keystead.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: keystead
{{ include "keystead.selector" . }}
{{- end }}

{{/* What selects the controller's pods. Without the release's name, so that it is the same in every installation. */}}
{{- define "keystead.selector" -}}
app.kubernetes.io/name: keystead
app.kubernetes.io/component: controller
{{- end }}

{{/* The same of the server. */}}
{{- define "keystead.serverLabels" -}}
{{ include "keystead.labels" . | replace "component: controller" "component: server" }}
{{- end }}

{{- define "keystead.serverSelector" -}}
{{ include "keystead.selector" . | replace "component: controller" "component: server" }}
{{- end }}

{{/* The same of the node plugin. */}}
{{- define "keystead.nodeLabels" -}}
{{ include "keystead.labels" . | replace "component: controller" "component: node" }}
{{- end }}

{{- define "keystead.nodeSelector" -}}
{{ include "keystead.selector" . | replace "component: controller" "component: node" }}
{{- end }}

{{- define "keystead.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The operator as the API server sees it. */}}
{{- define "keystead.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:keystead-controller
{{- end }}

{{/* The server as the API server sees it. */}}
{{- define "keystead.serverUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:keystead-server
{{- end }}

{{/* The controller's rights in a namespace that it serves. One list for the ClusterRole and for the Roles. */}}
{{- define "keystead.servedRules" -}}
# The native Secrets that ManagedSecrets deliver, import and adopt. Only metadata is listed, bodies are read one by one.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, update, delete]
# keystead-default is made on first use.
- apiGroups: [keystead.dev]
  resources: [managedkeys]
  verbs: [get, list, watch, create]
- apiGroups: [keystead.dev]
  resources: [keyaliases, keygrants, managedsecrets, rotationschedules]
  verbs: [get, list, watch]
- apiGroups: [keystead.dev]
  resources: [managedkeys/status, keyaliases/status, keygrants/status, managedsecrets/status, rotationschedules/status]
  verbs: [get, patch, update]
# A namespace's UID tells whether waiting truth may be adopted.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# A plaintext target becomes sealed, and a former one goes, only when nothing refers to it; pods are counted by the version of a secret that they have.
# spec.rollout restarts workloads; policy keystead-rollout-limits lets it change nothing else of them.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# In a namespace that opts in to injection, a pod that never started and was made before its secret is made anew by its controller.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list]
# Rotations by Jobs of the user's own; policy keystead-rotation-limits lets it make and delete no others.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
{{- $workloads := ternary "[get, list, patch]" "[list]" .Values.rollout.enabled }}
- apiGroups: [apps]
  resources: [deployments, daemonsets, statefulsets]
  verbs: {{ $workloads }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: {{ $workloads }}
{{- end }}

{{/* The namespace of the round trip of `helm test`. */}}
{{- define "keystead.testNamespace" -}}
{{- if .Values.test.namespace -}}
{{ .Values.test.namespace }}
{{- else if .Values.watchNamespaces -}}
{{ first .Values.watchNamespaces }}
{{- else -}}
keystead-test
{{- end -}}
{{- end }}

{{/* Restricted pod security, pod and container. */}}
{{- define "keystead.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "keystead.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
What the author policies match: a ManagedSecret made, or changed in what it asks of the operator (spec, and the annotations that
ask for a fresh start or another import). Not DELETE, and no other update, so neither deletion nor the removal of a finalizer is
ever held up. A terminating object whose spec changes is checked like any other: it can live as long as its author keeps a
finalizer on it.
*/}}
{{- define "keystead.authorMatch" -}}
failurePolicy: Fail
matchConstraints:
  {{- include "keystead.matchDefaults" . | nindent 2 }}
  resourceRules:
  - apiGroups: [keystead.dev]
    apiVersions: [v1alpha1]
    operations: [CREATE, UPDATE]
    resources: [managedsecrets]
    scope: Namespaced
matchConditions:
- name: new-or-changed
  expression: >-
    oldObject == null || object.spec != oldObject.spec
    || {{ include "keystead.annotationChanged" "keystead.dev/adopt" }}
    || {{ include "keystead.annotationChanged" "keystead.dev/import" }}
{{- end }}

{{/*
What the API server adds to matchConstraints, written out: a server-side apply without it takes it away and the API server
puts it back, so that every upgrade would change the policy.
*/}}
{{- define "keystead.matchDefaults" -}}
matchPolicy: Equivalent
namespaceSelector: {}
objectSelector: {}
{{- end }}

{{/*
A webhook about pods of namespaces that opted in. Call with (list $ path). The API server asks it again only if matchConditions matched
the first time, so that these must not depend on what other webhooks change.
*/}}
{{- define "keystead.injectionWebhook" -}}
{{- $ := index . 0 -}}
admissionReviewVersions: [v1]
sideEffects: None
timeoutSeconds: 5
matchPolicy: Equivalent
namespaceSelector:
  matchLabels:
    keystead.dev/injection: enabled
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: [{{ $.Release.Namespace | quote }}, kube-system, kube-public, kube-node-lease]
objectSelector: {}
clientConfig:
  service:
    name: keystead-server
    namespace: {{ $.Release.Namespace | quote }}
    path: {{ index . 1 }}
    port: 443
matchConditions:
- name: not-opted-out
  expression: "object.metadata.?annotations[?'keystead.dev/inject'].orValue('') != 'disabled'"
{{- end }}

{{/* Whether an annotation has another value than before, on an update. */}}
{{- define "keystead.annotationChanged" -}}
object.metadata.?annotations[?'{{ . }}'] != oldObject.metadata.?annotations[?'{{ . }}']
{{- end }}

{{/* Whether an annotation is there and was not so before: on a new object, or with another value on an update. */}}
{{- define "keystead.asks" -}}
object.metadata.?annotations[?'{{ . }}'].hasValue() && (oldObject == null || {{ include "keystead.annotationChanged" . }})
{{- end }}

{{/* A binding that applies everywhere. Call with (list $ name). */}}
{{- define "keystead.binding" -}}
{{- $ := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}
  labels: {{- include "keystead.labels" $ | nindent 4 }}
spec:
  policyName: {{ index . 1 }}
  validationActions: [Deny]
{{- end }}

{{/* A binding that warns and refuses nothing. Call with (list $ name), or with (list $ name true) for one warning per ManagedSecret of the namespace. */}}
{{- define "keystead.warningBinding" -}}
{{ include "keystead.binding" (list (index . 0) (index . 1)) | replace "[Deny]" "[Warn]" }}
{{- if gt (len .) 2 }}
  # Without a namespace: that of the object.
  paramRef:
    selector: {}
    parameterNotFoundAction: Allow
{{- end }}
{{- end }}

{{/* The author's right to a verb on a Secret of the namespace. Call with (list nameExpression verb). */}}
{{- define "keystead.mayOnSecret" -}}
authorizer.group('').resource('secrets').namespace(request.namespace).name({{ index . 0 }}).check('{{ index . 1 }}').allowed()
{{- end }}

{{/* The author's right to a verb on the value of a ManagedSecret. Call with (list namespaceExpression nameExpression verb). */}}
{{- define "keystead.mayOnValue" -}}
authorizer.group('keystead.dev').resource('managedsecrets').subresource('value').namespace({{ index . 0 }}).name({{ index . 1 }}).check('{{ index . 2 }}').allowed()
{{- end }}

{{/* The author's right to point an alias at the key that an object names, and what he is told without it. */}}
{{- define "keystead.mayAlias" -}}
authorizer.group('keystead.dev').resource('managedkeys').subresource('alias').namespace(request.namespace).name({{ . }}.spec.keyRef.name).check('update').allowed()
{{- end }}

{{- define "keystead.mayNotAlias" -}}
"'spec.keyRef needs update on managedkeys/alias for ManagedKey ' + request.namespace + '/' + {{ . }}.spec.keyRef.name + ': ask for a Role that grants it to you'"
{{- end }}

{{/* The author's right on a subresource of the key that a grant names. Call with (list subresource verb). */}}
{{- define "keystead.mayOnKey" -}}
authorizer.group('keystead.dev').resource('managedkeys').subresource('{{ index . 0 }}').namespace(request.namespace).name(object.spec.keyRef.name).check('{{ index . 1 }}').allowed()
{{- end }}

{{/*
Whether a statement speaks of the requester and of no message. A service account is also whatever is in its namespace; that it is still the
namespace that was accepted, the API server cannot know: names count here for Deny and Allow alike, and only the key's own namespace for Allow.
*/}}
{{- define "keystead.speaksOf" -}}
size({{ . }}.?conditions.?encryptionContext.orValue({})) == 0 && size({{ . }}.?conditions.?via.orValue([])) == 0 && (request.userInfo.username in {{ . }}.principals.?users.orValue([]) && ({{ . }}.effect == 'Deny' || !request.userInfo.username.startsWith('system:serviceaccount:') || request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':')) || {{ . }}.principals.?groups.orValue([]).exists(g, g in request.userInfo.?groups.orValue([]) && ({{ . }}.effect == 'Deny' || !g.startsWith('system:serviceaccounts:') || g == 'system:serviceaccounts:' + request.namespace)) || {{ . }}.principals.?serviceAccounts.orValue([]).exists(a, request.userInfo.username == 'system:serviceaccount:' + a.namespace + ':' + a.name && ({{ . }}.effect == 'Deny' || a.namespace == request.namespace)) || {{ . }}.principals.?namespaces.orValue([]).exists(n, request.userInfo.username.startsWith('system:serviceaccount:' + n + ':') && ({{ . }}.effect == 'Deny' || n == request.namespace)))
{{- end }}

{{/* Whether a statement `s` speaks of an action. */}}
{{- define "keystead.actsOn" -}}
s.actions.exists(a, '{{ . }}'.matches('^' + a.replace('*', '.*') + '$'))
{{- end }}

{{/* Deny, Allow, RBAC: whether the requester may administer. Call with (list statementsVariable delegatesVariable action subresource). */}}
{{- define "keystead.mayAdminister" -}}
!variables.{{ index . 0 }}.exists(s, s.effect == 'Deny' && {{ include "keystead.actsOn" (index . 2) }}) && (variables.{{ index . 0 }}.exists(s, s.effect == 'Allow' && {{ include "keystead.actsOn" (index . 2) }}) || variables.{{ index . 1 }} && authorizer.group('keystead.dev').resource('managedkeys').subresource('{{ index . 3 }}').namespace(request.namespace).name(object.metadata.name).check('update').allowed())
{{- end }}

{{/*
The guard outlives the release: Helm owns nothing that is made by a hook, so uninstalling leaves it, and an installation
under another release name replaces it.
*/}}
{{- define "keystead.guardAnnotations" -}}
helm.sh/hook: pre-install,pre-upgrade,pre-rollback
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}

{{/* The arguments of the audit trail, of every process that writes one. */}}
{{- define "keystead.auditArgs" -}}
- --audit-log={{ join "," .Values.audit.logs }}
{{- if has "file" .Values.audit.logs }}
- --audit-file={{ .Values.audit.file.path }}
- --audit-file-max-size={{ int .Values.audit.file.maxSizeMiB }}
- --audit-file-keep={{ int .Values.audit.file.keep }}
- --audit-file-fsync={{ .Values.audit.file.fsync }}
{{- end }}
{{- if .Values.audit.failOpen }}
- --audit-fail-open
{{- end }}
{{- end }}

{{/* The root key's file and the folder of the audit log, where there are any. */}}
{{- define "keystead.volumeMounts" -}}
{{- $auditFile := has "file" .Values.audit.logs }}
{{- if or .Values.root.file.volume $auditFile }}
volumeMounts:
{{- if .Values.root.file.volume }}
- name: root-key
  mountPath: {{ dir .Values.root.file.path }}
  readOnly: true
{{- end }}
{{- if $auditFile }}
- name: audit
  mountPath: {{ dir .Values.audit.file.path }}
{{- end }}
{{- end }}
{{- end }}

{{/* The volumes of keystead.volumeMounts. */}}
{{- define "keystead.volumes" -}}
{{- $auditFile := has "file" .Values.audit.logs }}
{{- if or .Values.root.file.volume $auditFile }}
volumes:
{{- if .Values.root.file.volume }}
- name: root-key
  {{- toYaml .Values.root.file.volume | nindent 2 }}
{{- end }}
{{- if $auditFile }}
- name: audit
  {{- toYaml (.Values.audit.file.volume | default (dict "emptyDir" (dict "sizeLimit" "2Gi"))) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
