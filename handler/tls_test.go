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

// authority is a CA of a test.
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

// sign makes a certificate; a CA without a certificate signs its own.
func (a *authority) sign(t *testing.T, public *ecdsa.PublicKey, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns certificate and key as PEM, for a server on loopback and for a client.
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
	return encodePEM("CERTIFICATE", leaf.Raw), encodePEM("EC PRIVATE KEY", der)
}

func (a *authority) pem() string { return encodePEM("CERTIFICATE", a.cert.Raw) }

func encodePEM(kind string, der []byte) string {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	return b.String()
}

// sender is an Alertmanager with a client certificate of ca, or without one if ca is nil. It
// trusts servers of the given CAs.
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
		// A client may present a certificate of a CA that the server does not name.
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

// serveTLS serves with a certificate of the CA server, to clients of the CA clients; to every
// client if that is nil.
func serveTLS(t *testing.T, server, clients *authority, names ...string) (address string, files tlsFiles, in *inbox) {
	t.Helper()
	folder := t.TempDir()
	files = tlsFiles{filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"), filepath.Join(folder, "ca.crt")}
	files.issue(t, server)
	s, in := newServer(t, func(o *handler.Options) {
		o.Config.TLSCertFile, o.Config.TLSKeyFile = files.cert, files.key
		if clients != nil {
			write(t, files.cas, clients.pem())
			o.Config.ClientCAFile, o.Config.ClientNames = files.cas, names
		}
	})
	address, _ = serve(t, s)
	return address, files, in
}

func TestListenerWithACertificateServesOnlyTLS(t *testing.T) {
	ours, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	address, _, in := serveTLS(t, ours, nil)
	if code, err := postTLS(sender(t, nil, ours), address); code != http.StatusOK {
		t.Errorf("with a certificate, the listener serves TLS: got %d, %v", code, err)
	}
	if _, err := postTLS(sender(t, nil, foreign), address); err == nil {
		t.Error("the listener presents the configured certificate and no other")
	}
	old := sender(t, nil, ours)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	if _, err := postTLS(old, address); err == nil {
		t.Error("versions before TLS 1.2 are refused")
	}
	response, err := http.Post("http://"+address+"/api/v1/alerts", "application/json", strings.NewReader(payload()))
	if err == nil {
		_ = response.Body.Close()
	}
	if err == nil && response.StatusCode == http.StatusOK {
		t.Error("with a certificate, the listener does not serve plain HTTP")
	}
	if n := len(in.batches()); n != 1 {
		t.Errorf("only alerts posted over TLS are passed on: got %d batches", n)
	}
}

func TestClientCertificateIsRequired(t *testing.T) {
	ours, clients, foreign := newAuthority(t, "ours"), newAuthority(t, "clients"), newAuthority(t, "foreign")
	address, _, in := serveTLS(t, ours, clients)
	for _, c := range []struct {
		name   string
		client *authority
		valid  bool
	}{
		{"a certificate of the client CA", clients, true},
		{"no certificate", nil, false},
		{"a certificate of a foreign CA", foreign, false},
		{"a certificate of the server's own CA", ours, false},
	} {
		before := len(in.batches())
		code, err := postTLS(sender(t, c.client, ours), address)
		if (code == http.StatusOK) != c.valid {
			t.Errorf("%s: valid is %t, got %d, %v", c.name, c.valid, code, err)
		}
		if passed := len(in.batches()) - before; (passed == 1) != c.valid {
			t.Errorf("%s: valid is %t, but %d batches were passed on", c.name, c.valid, passed)
		}
	}
}

func TestCertificateIsRotatedWithoutARestart(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	address, files, _ := serveTLS(t, first, nil)
	post := func(a *authority) error {
		_, err := postTLS(sender(t, nil, a), address)
		return err
	}
	if err := post(first); err != nil {
		t.Fatal(err)
	}
	cert, key := second.issue(t, "backout")
	replace(t, files.cert, cert)
	if err := post(first); err != nil {
		t.Errorf("while certificate and key do not match, the last pair stays in use: %v", err)
	}
	replace(t, files.key, key)
	if err := post(second); err != nil {
		t.Errorf("the new certificate is presented without a restart: %v", err)
	}
	if err := post(first); err == nil {
		t.Error("the old certificate is no longer presented")
	}
	replace(t, files.cert, "not a certificate")
	if err := post(second); err != nil {
		t.Errorf("after a broken file, the last certificate stays in use: %v", err)
	}
}

func TestClientCAIsRotatedWithoutARestart(t *testing.T) {
	ours, first, second := newAuthority(t, "ours"), newAuthority(t, "first"), newAuthority(t, "second")
	address, files, _ := serveTLS(t, ours, first)
	before, after := sender(t, first, ours), sender(t, second, ours)
	if code, err := postTLS(before, address); code != http.StatusOK {
		t.Fatalf("a client of the first CA is accepted: %v", err)
	}
	if _, err := postTLS(after, address); err == nil {
		t.Fatal("a client of the second CA is not accepted yet")
	}
	replace(t, files.cas, second.pem())
	if code, err := postTLS(after, address); code != http.StatusOK {
		t.Errorf("the new CA is used without a restart: %v", err)
	}
	if _, err := postTLS(before, address); err == nil {
		t.Error("a client of the old CA is refused, although it could resume its session")
	}
	replace(t, files.cas, "")
	if code, err := postTLS(after, address); code != http.StatusOK {
		t.Errorf("after a broken file, the last CAs stay in use: %v", err)
	}
	if _, err := postTLS(sender(t, nil, ours), address); err == nil {
		t.Error("after a broken file, no other client is accepted")
	}
}

// With names, only certificates with one of them are accepted; the alerts name the certificate.
func TestClientCertificatesMayNeedAName(t *testing.T) {
	ours := newAuthority(t, "ours")
	for _, c := range []struct {
		names []string
		want  int
	}{
		{nil, http.StatusOK}, {[]string{"grafana", "alertmanager"}, http.StatusOK}, {[]string{"grafana"}, http.StatusUnauthorized},
	} {
		address, _, in := serveTLS(t, ours, ours, c.names...)
		if code, err := postTLS(sender(t, ours, ours), address); code != c.want {
			t.Errorf("names %q: got %d, %v; want %d", c.names, code, err, c.want)
		}
		if batches := in.batches(); len(batches) > 0 && !strings.Contains(batches[0][0].Sender.Name, "CN=alertmanager") {
			t.Errorf("the alerts name the certificate: got %q", batches[0][0].Sender.Name)
		}
	}
}
