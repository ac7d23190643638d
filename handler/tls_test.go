package handler_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
)

// authority is a CA that a test makes.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(t, &key.PublicKey, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign makes a certificate; a CA without one signs its own.
func (a *authority) sign(t *testing.T, public *ecdsa.PublicKey, form *x509.Certificate) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	form.SerialNumber = serial
	form.NotBefore, form.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = form
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns certificate and key as PEM, for a server on loopback and for a
// client.
func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := a.sign(t, &private.PublicKey, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("CERTIFICATE", leaf.Raw), inPEM("EC PRIVATE KEY", der)
}

func (a *authority) pem() string { return inPEM("CERTIFICATE", a.cert.Raw) }

func inPEM(kind string, der []byte) string {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	return b.String()
}

// sender is an Alertmanager with a client certificate of ca, or without one if
// ca is nil. It trusts servers of the given CAs.
func sender(t *testing.T, ca *authority, trusts ...*authority) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	for _, a := range trusts {
		config.RootCAs.AddCert(a.cert)
	}
	if ca != nil {
		cert, key := ca.issue(t, "alertmanager")
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		// A client may present what the server does not ask for.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 5 * time.Second}
}

// postTLS returns the status code, or 0 and the error.
func postTLS(c *http.Client, address string) (int, error) {
	response, err := c.Post("https://"+address+"/api/v1/alerts", "application/json", strings.NewReader(payload()))
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// tlsFiles are the files of a listener with TLS.
type tlsFiles struct{ cert, key, cas string }

func (f tlsFiles) issue(t *testing.T, ca *authority) {
	t.Helper()
	cert, key := ca.issue(t, "backout")
	replace(t, f.key, key)
	replace(t, f.cert, cert)
}

// serveTLS serves with a certificate of server, to clients of the CA clients; to
// everybody if that is nil.
func serveTLS(t *testing.T, server, clients *authority) (address string, files tlsFiles, in *inbox) {
	t.Helper()
	folder := t.TempDir()
	files = tlsFiles{filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"), filepath.Join(folder, "ca.crt")}
	files.issue(t, server)
	s, in := newServer(t, func(o *handler.Options) {
		o.Config.TLSCertFile, o.Config.TLSKeyFile = files.cert, files.key
		if clients != nil {
			write(t, files.cas, clients.pem())
			o.Config.ClientCAFile = files.cas
		}
	})
	address, _ = serve(t, s)
	return address, files, in
}

func TestTLS(t *testing.T) {
	ours, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	address, _, in := serveTLS(t, ours, nil)
	if code, err := postTLS(sender(t, nil, ours), address); code != http.StatusOK {
		t.Errorf("with a certificate the listener speaks TLS: got %d, %v", code, err)
	}
	if _, err := postTLS(sender(t, nil, foreign), address); err == nil {
		t.Error("the listener presents the configured certificate and no other")
	}
	old := sender(t, nil, ours)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	if _, err := postTLS(old, address); err == nil {
		t.Error("nothing older than TLS 1.2 is spoken")
	}
	response, err := http.Post("http://"+address+"/api/v1/alerts", "application/json", strings.NewReader(payload()))
	if err == nil {
		_ = response.Body.Close()
	}
	if err == nil && response.StatusCode == http.StatusOK {
		t.Error("with a certificate the listener does not speak plain HTTP")
	}
	if n := len(in.batches()); n != 1 {
		t.Errorf("only what came by TLS is handed over: got %d batches", n)
	}
}

func TestClientCertificates(t *testing.T) {
	ours, clients, foreign := newAuthority(t, "ours"), newAuthority(t, "clients"), newAuthority(t, "foreign")
	address, _, in := serveTLS(t, ours, clients)
	for _, c := range []struct {
		what   string
		client *authority
		right  bool
	}{
		{"a certificate of the client CA", clients, true},
		{"no certificate", nil, false},
		{"a certificate of a foreign CA", foreign, false},
		{"a certificate of the server's own CA", ours, false},
	} {
		before := len(in.batches())
		code, err := postTLS(sender(t, c.client, ours), address)
		if (code == http.StatusOK) != c.right {
			t.Errorf("%s: right is %t, got %d, %v", c.what, c.right, code, err)
		}
		if handed := len(in.batches()) - before; (handed == 1) != c.right {
			t.Errorf("%s: right is %t, but %d batches were handed over", c.what, c.right, handed)
		}
	}
}

func TestCertificateRotation(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	address, files, _ := serveTLS(t, first, nil)
	trusting := func(a *authority) error {
		_, err := postTLS(sender(t, nil, a), address)
		return err
	}
	if err := trusting(first); err != nil {
		t.Fatal(err)
	}
	cert, key := second.issue(t, "backout")
	replace(t, files.cert, cert)
	if err := trusting(first); err != nil {
		t.Errorf("while certificate and key do not fit, the last pair stays in force: %v", err)
	}
	replace(t, files.key, key)
	if err := trusting(second); err != nil {
		t.Errorf("the new certificate is presented without a restart: %v", err)
	}
	if err := trusting(first); err == nil {
		t.Error("the old certificate is not presented any more")
	}
	replace(t, files.cert, "no certificate")
	if err := trusting(second); err != nil {
		t.Errorf("a spoilt file leaves the last certificate in force: %v", err)
	}
}

func TestClientCARotation(t *testing.T) {
	ours, first, second := newAuthority(t, "ours"), newAuthority(t, "first"), newAuthority(t, "second")
	address, files, _ := serveTLS(t, ours, first)
	before, after := sender(t, first, ours), sender(t, second, ours)
	if code, err := postTLS(before, address); code != http.StatusOK {
		t.Fatalf("a client of the first CA is let in: %v", err)
	}
	if _, err := postTLS(after, address); err == nil {
		t.Fatal("a client of the second CA is not let in yet")
	}
	replace(t, files.cas, second.pem())
	if code, err := postTLS(after, address); code != http.StatusOK {
		t.Errorf("the new CA counts without a restart: %v", err)
	}
	if _, err := postTLS(before, address); err == nil {
		t.Error("a client of the old CA is refused, though it could resume its session")
	}
	replace(t, files.cas, "")
	if code, err := postTLS(after, address); code != http.StatusOK {
		t.Errorf("a spoilt file leaves the last CAs in force: %v", err)
	}
	if _, err := postTLS(sender(t, nil, ours), address); err == nil {
		t.Error("a spoilt file lets nobody else in")
	}
}
