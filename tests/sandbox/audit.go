package sandbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// auditPolicy has what pods ask of the API server written down, before their requests are carried out and after. The
// controllers and the admin are of no interest, and would slow the sandbox down.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: [system:serviceaccounts]
  - level: None
`

// Request is what a service account asked of the API server, as the API server wrote it down.
type Request struct {
	// User is system:serviceaccount:NAMESPACE:NAME.
	User, Verb string
	// What was asked for: Resource with its API group and subresource, empty for a path that is no resource.
	APIGroup, Resource, Subresource, Namespace, Name string
	// Code is that of the answer, 403 for what is not allowed.
	Code int32
}

// auditEvent is the part of an audit.k8s.io/v1 Event that a Request has.
type auditEvent struct {
	User      struct{ Username string }
	Verb      string
	ObjectRef struct {
		APIGroup, Resource, Subresource, Namespace, Name string
	}
	ResponseStatus struct{ Code int32 }
}

// Requests returns what service accounts have asked of the API server so far, watches included, in the order of the answers.
func (s *Sandbox) Requests() ([]Request, error) {
	f, err := os.Open(s.layout.AuditLog())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	var all []Request
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil // what has no end of line is being written
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		var e auditEvent
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return nil, fmt.Errorf("read the audit log: %w\n%s", err, line)
		}
		all = append(all, Request{
			User: e.User.Username, Verb: e.Verb, Code: e.ResponseStatus.Code,
			APIGroup: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Subresource: e.ObjectRef.Subresource,
			Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		})
	}
}
