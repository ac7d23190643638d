package handler

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
)

// newTLS returns nil if no certificate is configured. Certificate, key and client CAs are
// read again when they change.
func newTLS(c Config, log *slog.Logger) (*tls.Config, error) {
	if c.TLSCertFile == "" {
		return nil, nil
	}
	pair := func([]byte) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		return &cert, err
	}
	cert, err := newWatchedFile(c.TLSCertFile, pair)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			current, err := cert.get()
			if err != nil {
				log.Error("certificate not readable; the last one stays in use", "error", err)
			}
			return current, nil
		},
	}
	if c.ClientCAFile == "" {
		return config, nil
	}
	return config, requireClientCertificates(config, c.ClientCAFile, log)
}

// requireClientCertificates lets the server accept only clients with a certificate of a CA
// in the file.
func requireClientCertificates(config *tls.Config, caFile string, log *slog.Logger) error {
	cas, err := newWatchedFile(caFile, parsePool)
	if err != nil {
		return err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current, err := cas.get()
		if err != nil {
			log.Error("client CAs not readable; the last ones stay in use", "error", err)
		}
		perClient := base.Clone()
		perClient.ClientCAs = current
		return perClient, nil
	}
	return nil
}

func parsePool(text []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(text) {
		return nil, errors.New("it contains no PEM certificate")
	}
	return p, nil
}
