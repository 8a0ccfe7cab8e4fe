{{- define "aisoc.airgap" -}}
- name: AISOC_AIRGAPPED
  value: {{ .Values.airgap.enabled | quote }}
- name: AISOC_AIRGAP_ALLOWLIST
  value: {{ .Values.airgap.allowlist | quote }}
{{- end }}

{{- define "aisoc.env" -}}
{{ include "aisoc.airgap" . }}
- name: AISOC_ENVIRONMENT
  value: production
- name: AISOC_WEB_HOSTS
  value: {{ .Values.web.maxReplicas | quote }}
- name: ALLOWED_HOSTS
  value: {{ .Values.allowedHosts | quote }}
- name: AISOC_TRUSTED_PROXIES
  value: {{ .Values.trustedProxies | quote }}
# a folder of its own in the volume: the kubelet makes an emptyDir with mode 0777, which production refuses
- name: AISOC_DATA_DIR
  value: /data/var
- name: AISOC_BIND
  value: 0.0.0.0
- name: AISOC_METRICS_PORT
  value: "9100"
- name: SECRET_KEY_FILE
  value: /run/secrets/aisoc/secret-key
- name: AISOC_CREDENTIAL_KEY_FILE
  value: /run/secrets/aisoc/credential-key
- name: AISOC_SIGNING_KEY_FILE
  value: /run/secrets/aisoc/signing-key
- name: CELERY_BROKER_URL_FILE
  value: /run/secrets/aisoc/broker-url
{{- range .Values.settings }}
- name: {{ .name }}
  value: {{ .value | quote }}
{{- end }}
{{- end }}

{{- define "aisoc.labels" -}}
app.kubernetes.io/name: aisoc-admin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "aisoc.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
imagePullSecrets:
  {{- toYaml .Values.imagePullSecrets | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
terminationGracePeriodSeconds: 40
volumes:
  - name: data
    emptyDir: {}
  - name: tmp
    emptyDir: {}
  - name: secrets
    secret:
      secretName: {{ .Values.secretName }}
      defaultMode: 0440
{{- end }}

{{- define "aisoc.container" -}}
image: {{ .Values.image }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: data
    mountPath: /data
  - name: tmp
    mountPath: /tmp
  - name: secrets
    mountPath: /run/secrets/aisoc
    readOnly: true
{{- end }}

{{- define "aisoc.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "aisoc.labels" . | nindent 8 }}
{{- end }}
