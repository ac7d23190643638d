// Package slacktest is a Slack for tests: chat.postMessage, chat.update and an incoming
// webhook. Its one fact worth knowing: it refuses what Slack refuses, with Slack's codes,
// and answers 200 when it does.
package slacktest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Message is a message in a channel.
type Message struct {
	Channel, TS, ThreadTS string
	Text                  string
	Blocks                json.RawMessage
	// Edits is how often it was updated.
	Edits int
}

// Server is the fake. It is an http.Handler and safe for concurrent use.
type Server struct {
	// Token is the bot's token, Channels are the IDs of the channels that it is in.
	Token    string
	Channels []string
	// HookPath is the path of the incoming webhook.
	HookPath string

	mu       sync.Mutex
	messages []Message
	hooked   []Message
	count    int
	lastPost map[string]time.Time
	until    time.Time
	wait     time.Duration
	refusals []string
}

// Limits of Slack.
const (
	maxText    = 40_000
	maxBlocks  = 50
	maxHeader  = 150
	maxSection = 3_000
	perChannel = time.Second
)

// Limit answers every request with 429 for that time, and asks to wait as long.
func (s *Server) Limit(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until, s.wait = time.Now().Add(wait), wait
}

// Messages returns the messages of the bot, oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Hooked returns the messages of the incoming webhook, oldest first.
func (s *Server) Hooked() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hooked)
}

// Refusals returns the codes of all refusals, oldest first.
func (s *Server) Refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// Delete removes a message, as a user can.
func (s *Server) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m Message) bool { return m.TS == ts })
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, 1<<20))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := time.Until(s.until); wait > 0 {
		s.limited(w, s.wait)
		return
	}
	switch q.URL.Path {
	case "/api/chat.postMessage", "/api/chat.update":
		s.chat(w, q, string(body))
	case s.HookPath:
		s.hook(w, body)
	default:
		s.refusals = append(s.refusals, "no_service")
		http.Error(w, "no_service", http.StatusNotFound)
	}
}

func (s *Server) limited(w http.ResponseWriter, wait time.Duration) {
	s.refusals = append(s.refusals, "ratelimited")
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, `{"ok":false,"error":"ratelimited"}`)
}

func (s *Server) chat(w http.ResponseWriter, q *http.Request, body string) {
	form, _ := url.ParseQuery(body)
	token := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		token = form.Get("token")
	}
	m := Message{Channel: form.Get("channel"), ThreadTS: form.Get("thread_ts"), Text: form.Get("text")}
	if blocks := form.Get("blocks"); blocks != "" {
		m.Blocks = json.RawMessage(blocks)
	}
	code := ""
	switch {
	case token == "":
		code = "not_authed"
	case token != s.Token:
		code = "invalid_auth"
	case !slices.Contains(s.Channels, m.Channel):
		code = "channel_not_found"
	default:
		code = refusalCode(m)
	}
	if code != "" {
		s.refuse(w, code)
		return
	}
	if strings.HasSuffix(q.URL.Path, "chat.update") {
		s.update(w, form.Get("ts"), m)
		return
	}
	s.postMessage(w, m)
}

func (s *Server) postMessage(w http.ResponseWriter, m Message) {
	now := time.Now()
	if last := s.lastPost[m.Channel]; now.Sub(last) < perChannel {
		s.limited(w, perChannel)
		return
	}
	if m.ThreadTS != "" && s.find(m.Channel, m.ThreadTS) < 0 {
		m.ThreadTS = "" // Slack posts it outside of a deleted thread
	}
	if s.lastPost == nil {
		s.lastPost = make(map[string]time.Time)
	}
	s.lastPost[m.Channel] = now
	s.count++
	m.TS = fmt.Sprintf("%d.%06d", now.Unix(), s.count)
	s.messages = append(s.messages, m)
	s.accept(w, m)
}

func (s *Server) update(w http.ResponseWriter, ts string, m Message) {
	i := s.find(m.Channel, ts)
	if i < 0 {
		s.refuse(w, "message_not_found")
		return
	}
	old := &s.messages[i]
	old.Text, old.Blocks, old.Edits = m.Text, m.Blocks, old.Edits+1
	s.accept(w, *old)
}

func (s *Server) find(channel, ts string) int {
	return slices.IndexFunc(s.messages, func(m Message) bool { return m.Channel == channel && m.TS == ts })
}

func (s *Server) accept(w http.ResponseWriter, m Message) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS, "text": m.Text})
}

// refuse answers 200, as Slack does.
func (s *Server) refuse(w http.ResponseWriter, code string) {
	s.refusals = append(s.refusals, code)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": code})
}

func (s *Server) hook(w http.ResponseWriter, body []byte) {
	var payload struct {
		Text   string          `json:"text"`
		Blocks json.RawMessage `json:"blocks"`
	}
	code := ""
	if err := json.Unmarshal(body, &payload); err != nil {
		code = "invalid_payload"
	} else {
		code = refusalCode(Message{Text: payload.Text, Blocks: payload.Blocks})
	}
	if code != "" {
		s.refusals = append(s.refusals, code)
		http.Error(w, code, http.StatusBadRequest)
		return
	}
	s.hooked = append(s.hooked, Message{Text: payload.Text, Blocks: payload.Blocks})
	_, _ = io.WriteString(w, "ok")
}

// block is the part of a block that is checked.
type block struct {
	Type     string  `json:"type"`
	Text     *text   `json:"text"`
	Elements []*text `json:"elements"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// refusalCode returns Slack's code for a message that it refuses; "" if it accepts it.
func refusalCode(m Message) string {
	if m.Text == "" && len(m.Blocks) == 0 {
		return "no_text"
	}
	if utf8.RuneCountInString(m.Text) > maxText {
		return "msg_too_long"
	}
	if len(m.Blocks) == 0 {
		return ""
	}
	var blocks []block
	if err := json.Unmarshal(m.Blocks, &blocks); err != nil || len(blocks) > maxBlocks {
		return "invalid_blocks"
	}
	for _, b := range blocks {
		if !b.valid() {
			return "invalid_blocks"
		}
	}
	return ""
}

func (b block) valid() bool {
	switch b.Type {
	case "header":
		return b.Text != nil && b.Text.Type == "plain_text" && b.Text.fits(maxHeader)
	case "section":
		return b.Text != nil && b.Text.fits(maxSection)
	case "context":
		return len(b.Elements) > 0 && len(b.Elements) <= 10 &&
			!slices.ContainsFunc(b.Elements, func(t *text) bool { return !t.fits(maxSection) })
	case "divider":
		return true
	default:
		return false
	}
}

func (t *text) fits(most int) bool {
	n := utf8.RuneCountInString(t.Text)
	return (t.Type == "plain_text" || t.Type == "mrkdwn") && n > 0 && n <= most
}
