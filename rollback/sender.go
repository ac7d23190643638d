package rollback

import "slices"

// AllNamespaces is the name of all namespaces in Sender.Namespaces.
const AllNamespaces = "*"

// Sender is an authenticated client that posts alerts.
type Sender struct {
	// Name identifies the sender in records and logs, such as "token of shop" or
	// "certificate CN=alertmanager". It contains no secret.
	Name string
	// Namespaces are those that the sender may post alerts about, or AllNamespaces.
	Namespaces []string
	// Confirm says where backout asks about the sender's alerts; "" is Prometheus or, if no Prometheus
	// is configured, Grafana. Nothing in a payload changes it.
	Confirm ConfirmBy
}

// ConfirmBy says which servers evaluate the rule of an alert, so that backout asks them whether
// the alert fires.
type ConfirmBy string

// The servers: Prometheus, or Grafana for the rules that it evaluates itself. An alert with
// ConfirmByNone is believed as it comes.
const (
	ConfirmByPrometheus ConfirmBy = "prometheus"
	ConfirmByGrafana    ConfirmBy = "grafana"
	ConfirmByNone       ConfirmBy = "none"
)

// ConfirmBys returns all of them.
func ConfirmBys() []ConfirmBy {
	return []ConfirmBy{ConfirmByPrometheus, ConfirmByGrafana, ConfirmByNone}
}

// Strictness is larger the more has to agree with a sender. "" is Prometheus, or Grafana where no
// Prometheus is configured, so it is between the two.
func (c ConfirmBy) Strictness() int {
	return slices.Index([]ConfirmBy{ConfirmByNone, ConfirmByGrafana, "", ConfirmByPrometheus}, c)
}

// confirmBy returns where backout asks about the sender's alerts; "" is as in Confirm.
func (s *Sender) confirmBy() ConfirmBy {
	if s == nil || s.Confirm == ConfirmByPrometheus {
		return ""
	}
	return s.Confirm
}

// MaySpeakFor reports whether the sender may post alerts about the namespace. A nil Sender
// may post about every one: backout does not authenticate it.
func (s *Sender) MaySpeakFor(namespace string) bool {
	return s == nil || slices.Contains(s.Namespaces, AllNamespaces) || slices.Contains(s.Namespaces, namespace)
}

// name is the sender's name; "" for a nil Sender.
func (s *Sender) name() string {
	if s == nil {
		return ""
	}
	return Clip(Printable(s.Name), MaxName)
}
