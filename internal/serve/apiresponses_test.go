package serve

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestResponsesAreBounded: a namespace full of large ConfigMaps must not fill the memory.
func TestResponsesAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "true" {
			_, _ = w.Write([]byte(`{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"seen"}}}`))
			return
		}
		_, _ = w.Write([]byte(`{"kind":"ConfigMapList","apiVersion":"v1","items":[`))
		item := append(bytes.Repeat([]byte(" "), 1<<20), []byte(`{},`)...)
		for range 200 {
			if _, err := w.Write(item); err != nil {
				return
			}
		}
		_, _ = w.Write([]byte(`{}]}`))
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(boundResponses(&rest.Config{Host: server.URL}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().ConfigMaps("shop").List(t.Context(), metav1.ListOptions{})
	if err == nil || !strings.Contains(err.Error(), "/namespaces/shop/configmaps") || !strings.Contains(err.Error(), "more than 32 MiB") {
		t.Errorf("a list of 200 MB is an error that names it: got %v", err)
	}
	events, err := client.CoreV1().ConfigMaps("shop").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if event := <-events.ResultChan(); event.Type != "ADDED" {
		t.Errorf("a watch has no bound: got %v", event)
	}
}
