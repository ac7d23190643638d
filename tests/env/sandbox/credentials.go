package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// credentials are the admin's credentials for one sandbox.
type credentials struct {
	authority         []byte // PEM; the API server's certificate, which is self-signed
	servingKey        []byte // PEM
	serviceAccountKey []byte // PEM
	token             string
}

// newCredentials generates keys, which takes tenths of a second.
func newCredentials() (credentials, error) {
	// The certificate is valid for both ways to the API server: the address inside, and a forward on the host's loopback.
	cert, key, err := certutil.GenerateSelfSignedCertKey(InnerAddress,
		[]net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(APIServerServiceIP)},
		[]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"})
	if err != nil {
		return credentials{}, fmt.Errorf("make the API server's certificate: %w", err)
	}
	accounts, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return credentials{}, fmt.Errorf("make the service accounts' key: %w", err)
	}
	return credentials{authority: cert, servingKey: key, serviceAccountKey: accounts, token: rand.Text()}, nil
}

// write writes the files that the control plane reads at its start.
func (c credentials) write(l Layout) error {
	err := errors.Join(
		os.WriteFile(l.ServingCert(), c.authority, 0o600),
		os.WriteFile(l.ServingKey(), c.servingKey, 0o600),
		os.WriteFile(l.ServiceAccountKey(), c.serviceAccountKey, 0o600),
		os.WriteFile(l.Tokens(), []byte(c.token+`,admin,admin,"system:masters"`+"\n"), 0o600),
		os.WriteFile(l.AuditPolicy(), []byte(auditPolicy), 0o600),
		c.writeKubeconfig(l.InnerKubeconfig(), innerAPIServer()),
	)
	if err != nil {
		return fmt.Errorf("write the sandbox's credentials: %w", err)
	}
	return nil
}

// writeKubeconfig writes a kubeconfig for the API server at a host:port.
func (c credentials) writeKubeconfig(path, address string) error {
	config := api.NewConfig()
	config.Clusters["sandbox"] = &api.Cluster{Server: "https://" + address, CertificateAuthorityData: c.authority}
	config.AuthInfos["admin"] = &api.AuthInfo{Token: c.token}
	config.Contexts["sandbox"] = &api.Context{Cluster: "sandbox", AuthInfo: "admin", Namespace: "default"}
	config.CurrentContext = "sandbox"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}

// readKubeconfig reads what writeKubeconfig has written: the credentials of a client, and the address.
func readKubeconfig(path string) (c credentials, address string, err error) {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return credentials{}, "", fmt.Errorf("read kubeconfig: %w", err)
	}
	cluster, admin := config.Clusters["sandbox"], config.AuthInfos["admin"]
	if cluster == nil || admin == nil {
		return credentials{}, "", fmt.Errorf("read kubeconfig %s: it is not that of a sandbox", path)
	}
	address = strings.TrimPrefix(cluster.Server, "https://")
	return credentials{authority: cluster.CertificateAuthorityData, token: admin.Token}, address, nil
}

// restConfig is a client configuration without a rate limit of its own.
func (c credentials) restConfig(address string) *rest.Config {
	return &rest.Config{
		Host:            "https://" + address,
		BearerToken:     c.token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.authority},
		QPS:             -1,
	}
}
