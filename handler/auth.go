package handler

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/upcommerce/backout/rollback"
)

// minToken is the least length of a token in bytes. `openssl rand -hex 32` gives 64.
const minToken = 16

// digest is a token's SHA-256. Digests of all tokens have the same length, so that the
// time of a comparison says nothing about the length of the right token.
type digest [sha256.Size]byte

func parseToken(text []byte) (digest, error) {
	token := bytes.TrimSpace(text)
	if len(token) < minToken {
		return digest{}, fmt.Errorf("the token in it has %d bytes, want at least %d; put a token into it, such as the output of `openssl rand -hex 32`",
			len(token), minToken)
	}
	return sha256.Sum256(token), nil
}

// token is a bearer token in a file, the namespaces that it is for, and where backout asks about
// its alerts.
type token struct {
	namespaces []string
	confirm    rollback.ConfirmBy
	file       *watchedFile[digest]
	// previous has the token before, which stays valid as long as its file exists.
	previous *watchedFile[digest]
}

// previousName is the beginning of the name of the file with the token before, next to that
// with the token.
const previousName = "previous-"

// matches reports whether the presented token is the one in the file or the one before. The
// error is about a file that cannot be read.
func (t token) matches(presented digest) (bool, error) {
	current, err := t.file.get()
	same := subtle.ConstantTimeCompare(presented[:], current[:])
	if _, missing := os.Stat(t.previous.path); !errors.Is(missing, fs.ErrNotExist) {
		previous, previousErr := t.previous.get()
		if previousErr == nil {
			same |= subtle.ConstantTimeCompare(presented[:], previous[:])
		}
		err = errors.Join(err, previousErr)
	}
	return same == 1, err
}

// bearer checks the Authorization header against tokens from files.
type bearer struct {
	tokens []token
	// unreadable has the errors that were logged, shared those about a token in several files.
	unreadable, shared lastErrors
	log                *slog.Logger
}

// lastErrors has the last error about each file. It is safe for concurrent use; its zero
// value is empty.
type lastErrors struct {
	mu     sync.Mutex
	byPath map[string]string
}

// changed reports whether err is an error, and another one than the last about the file.
// Every request reads the files, also one without a token.
func (l *lastErrors) changed(path string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.byPath, path)
		return false
	}
	if l.byPath[path] == err.Error() {
		return false
	}
	if l.byPath == nil {
		l.byPath = make(map[string]string)
	}
	l.byPath[path] = err.Error()
	return true
}

// newBearer reads the tokens. Namespaces may share a file.
func newBearer(tokens Tokens, log *slog.Logger) (*bearer, error) {
	b := &bearer{log: log}
	for _, namespace := range slices.Sorted(maps.Keys(tokens)) {
		for _, entry := range tokens[namespace] {
			if err := b.add(namespace, entry); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range b.tokens {
		if slices.ContainsFunc(b.tokens, func(other token) bool { return other.file.path == t.previous.path }) {
			return nil, fmt.Errorf("%s is where the token before that in %s would be: give it another name", t.previous.path, t.file.path)
		}
	}
	return b, nil
}

// add reads the token of an entry of Tokens, if it is a new one, which is for that namespace as
// well.
func (b *bearer) add(namespace, entry string) error {
	path, confirm := cutConfirm(entry)
	if i := slices.IndexFunc(b.tokens, func(t token) bool { return t.file.path == path }); i >= 0 {
		b.tokens[i].namespaces = append(b.tokens[i].namespaces, namespace)
		return nil
	}
	file, err := newWatchedFile(path, parseToken)
	if err != nil {
		return err
	}
	directory, name := filepath.Split(path)
	previous := &watchedFile[digest]{path: directory + previousName + name, parse: parseToken}
	b.tokens = append(b.tokens, token{[]string{namespace}, confirm, file, previous})
	return nil
}

// sender returns the sender whose token the request presents; nil if it presents none that
// is valid. It compares with all tokens, in constant time. A token that is in several files
// is for the namespaces of all of them, which is logged, and confirmed in the strictest way that
// one of them says.
func (b *bearer) sender(r *http.Request) *rollback.Sender {
	scheme, presented, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(presented)))
	var namespaces, paths []string
	var confirm rollback.ConfirmBy
	for _, t := range b.tokens {
		matches, err := t.matches(got)
		if b.unreadable.changed(t.file.path, err) {
			b.log.ErrorContext(r.Context(), "token file not readable; the last token stays valid", "error", err)
		}
		if matches {
			if len(paths) == 0 || t.confirm.Strictness() > confirm.Strictness() {
				confirm = t.confirm
			}
			namespaces, paths = append(namespaces, t.namespaces...), append(paths, t.file.path)
		}
	}
	if len(paths) > 1 && b.shared.changed(paths[0], fmt.Errorf("%v", paths)) {
		b.log.WarnContext(r.Context(), "the same token is in several files: each of its senders speaks for the namespaces of all; give them tokens of their own",
			"reason", strings.Join(paths, ", ")+" for "+strings.Join(namespaces, ", "))
	}
	if !strings.EqualFold(scheme, "Bearer") || len(namespaces) == 0 {
		return nil
	}
	name := "token of " + strings.Join(namespaces, ", ")
	if confirm != "" {
		name += ", confirmed by " + string(confirm)
	}
	return &rollback.Sender{Name: name, Namespaces: namespaces, Confirm: confirm}
}

// certificateSender returns the sender whose certificate the client has presented, and
// whether it has one of the names; no names allow every certificate. The sender is nil for
// a client without a certificate. TLS has verified the certificate already.
func certificateSender(r *http.Request, names []string) (sender *rollback.Sender, allowed bool) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, len(names) == 0
	}
	cert := r.TLS.PeerCertificates[0]
	sender = &rollback.Sender{Name: "certificate " + cert.Subject.String(), Namespaces: []string{rollback.AllNamespaces}}
	return sender, len(names) == 0 || slices.ContainsFunc(namesOf(cert), func(name string) bool { return slices.Contains(names, name) })
}

// namesOf returns the names that a certificate is for: its common name and its subject
// alternative names.
func namesOf(cert *x509.Certificate) []string {
	names := append([]string{cert.Subject.CommonName}, cert.DNSNames...)
	names = append(names, cert.EmailAddresses...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}
