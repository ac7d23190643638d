package handler

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// digest is a token's SHA-256: of equal length for every token, so that a
// comparison tells nothing about how long the right one is.
type digest [sha256.Size]byte

func parseToken(text []byte) (digest, error) {
	token := bytes.TrimSpace(text)
	if len(token) == 0 {
		return digest{}, errors.New("it is empty; put a token into it, such as the output of `openssl rand -hex 32`")
	}
	return sha256.Sum256(token), nil
}

// bearer checks the Authorization header against a token from a file.
type bearer struct {
	token *secretFile[digest]
	log   *slog.Logger
}

// allows compares in constant time.
func (b *bearer) allows(r *http.Request) bool {
	want, err := b.token.get()
	if err != nil {
		b.log.ErrorContext(r.Context(), "token file not readable; the last token stays in force", "error", err)
	}
	scheme, presented, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(presented)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// newTLS returns nil if no certificate is configured. Certificate, key and
// client CAs are re-read when they change.
func newTLS(c Config, log *slog.Logger) (*tls.Config, error) {
	if c.TLSCertFile == "" {
		return nil, nil
	}
	pair := func([]byte) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		return &cert, err
	}
	cert, err := newSecretFile(c.TLSCertFile, pair)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			current, err := cert.get()
			if err != nil {
				log.Error("certificate not readable; the last one stays in force", "error", err)
			}
			return current, nil
		},
	}
	if c.ClientCAFile == "" {
		return config, nil
	}
	pool := func(text []byte) (*x509.CertPool, error) {
		p := x509.NewCertPool()
		if !p.AppendCertsFromPEM(text) {
			return nil, errors.New("it holds no PEM certificate")
		}
		return p, nil
	}
	cas, err := newSecretFile(c.ClientCAFile, pool)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current, err := cas.get()
		if err != nil {
			log.Error("client CAs not readable; the last ones stay in force", "error", err)
		}
		perClient := base.Clone()
		perClient.ClientCAs = current
		return perClient, nil
	}
	return config, nil
}
