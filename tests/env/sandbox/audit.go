package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// auditPolicy logs the requests of service accounts. Those of the controllers and the admin are left out, because logging them
// would slow the sandbox down.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: [system:serviceaccounts]
  - level: None
`

// Request is a request of a service account, from the API server's audit log.
type Request struct {
	// User is system:serviceaccount:NAMESPACE:NAME. It is the impersonated user of a request with impersonation.
	User, Verb string
	// Impersonator is the user that sent such a request; "" without impersonation.
	Impersonator string
	// The object of the request; all are empty for a path that is not a resource.
	APIGroup, Resource, Subresource, Namespace, Name string
	// Code is the status of the answer, 403 for a request that is not allowed.
	Code int32
}

// auditEvent has the fields of an audit.k8s.io/v1 Event that a Request needs.
type auditEvent struct {
	User             struct{ Username string }
	ImpersonatedUser struct{ Username string }
	Verb             string
	ObjectRef        struct {
		APIGroup, Resource, Subresource, Namespace, Name string
	}
	ResponseStatus struct{ Code int32 }
}

// Requests returns the requests of service accounts so far, watches included, in the order of the answers.
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
			return all, nil // a line without an end is being written
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		var e auditEvent
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return nil, fmt.Errorf("read the audit log: %w\n%s", err, line)
		}
		impersonator := ""
		if e.ImpersonatedUser.Username != "" {
			impersonator = e.User.Username
		}
		all = append(all, Request{
			Impersonator: impersonator,
			User:         cmp.Or(e.ImpersonatedUser.Username, e.User.Username), Verb: e.Verb, Code: e.ResponseStatus.Code,
			APIGroup: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Subresource: e.ObjectRef.Subresource,
			Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		})
	}
}
