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
