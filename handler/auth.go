package handler

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// digest is a token's SHA-256. Digests of all tokens have the same length, so that the
// time of a comparison says nothing about the length of the right token.
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
	token *watchedFile[digest]
	log   *slog.Logger
}

// allows reports whether the request presents the token. It compares in constant time.
func (b *bearer) allows(r *http.Request) bool {
	want, err := b.token.get()
	if err != nil {
		b.log.ErrorContext(r.Context(), "token file not readable; the last token stays valid", "error", err)
	}
	scheme, presented, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(presented)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
