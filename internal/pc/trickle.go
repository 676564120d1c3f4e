package pc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
)

// Patch takes candidates, or new ICE credentials, which restart ICE; then it
// returns our new ones.
func (s *Session) Patch(ctx context.Context, text string) (string, error) {
	f, err := sdp.ParseFragment(text)
	if err != nil {
		return "", err
	}
	s.negotiation.Lock()
	defer s.negotiation.Unlock()
	if !s.answered {
		return "", fmt.Errorf("%w: candidates before the answer", cdn.ErrInvalid)
	}
	remote := s.pc.RemoteDescription()
	if remote == nil {
		return "", cdn.ErrClosed
	}
	if f.Ufrag != "" && f.Ufrag != attribute(remote.SDP, "ice-ufrag") {
		return s.restart(ctx, remote.SDP, f)
	}
	s.addCandidates(f)
	return "", s.Err()
}

// addCandidates adds those that pion understands, while there is room for more; the others are
// dropped without a word (RFC 9725 section 4.3.2).
func (s *Session) addCandidates(f sdp.Fragment) {
	for _, c := range f.Candidates[:min(len(f.Candidates), sdp.MaxTrickled-s.candidates)] {
		s.candidates++
		_ = s.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: c.Mid, SDPMLineIndex: c.Index})
	}
}

// restart answers the offer that the client would have made with its new
// credentials (RFC 9725 section 4.3.3).
func (s *Session) restart(ctx context.Context, remote string, f sdp.Fragment) (string, error) {
	if s.pc.RemoteDescription().Type != webrtc.SDPTypeOffer {
		return "", fmt.Errorf("%w: ICE restart of an offer of ours", cdn.ErrUnsupported)
	}
	if wait := s.restarts.take(time.Now()); wait > 0 {
		return "", &cdn.Error{
			Op: "restart ICE", Err: fmt.Errorf("%w: %d restarts a minute", cdn.ErrOverLimit, restartsPerMinute), RetryAfter: wait,
		}
	}
	if err := s.setRemote(webrtc.SDPTypeOffer, withCredentials(remote, f)); err != nil {
		return "", err
	}
	if err := s.describe(ctx, func() (webrtc.SessionDescription, error) { return s.pc.CreateAnswer(nil) }, nil); err != nil {
		return "", err
	}
	s.candidates = 0
	s.addCandidates(f)
	return localFragment(s.SDP()), nil
}

// restartsPerMinute bounds how often ICE begins anew. A client does it when its
// network changes.
const restartsPerMinute = 5

// restarts are a session's. The first restartsPerMinute may come at once.
type restarts struct {
	due time.Time // when the next one would be, if they came evenly
}

// take counts a restart now, or returns how long it has to wait.
func (r *restarts) take(now time.Time) (wait time.Duration) {
	const every = time.Minute / restartsPerMinute
	if wait = r.due.Add(-(restartsPerMinute - 1) * every).Sub(now); wait > 0 {
		return wait
	}
	if now.After(r.due) {
		r.due = now
	}
	r.due = r.due.Add(every)
	return 0
}

// withCredentials returns the description with other ICE credentials and
// without candidates.
func withCredentials(desc string, f sdp.Fragment) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(desc, "\n") {
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			line = "a=ice-ufrag:" + f.Ufrag + "\r\n"
		case strings.HasPrefix(line, "a=ice-pwd:"):
			line = "a=ice-pwd:" + f.Pwd + "\r\n"
		case strings.HasPrefix(line, "a=candidate:"), strings.HasPrefix(line, "a=end-of-candidates"):
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

// localFragment is what of our description the client needs after a restart.
func localFragment(desc string) string {
	var b strings.Builder
	seen := map[string]bool{}
	var media, mid string
	for line := range strings.SplitSeq(desc, "\n") {
		line = strings.TrimSpace(line)
		key, _, _ := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "m=") && media == "":
			media = line
		case key == "a=mid" && mid == "":
			mid = line
		case key == "a=ice-ufrag" || key == "a=ice-pwd" || key == "a=candidate" || line == "a=end-of-candidates" || line == "a=ice-lite":
			if seen[line] {
				continue
			}
			seen[line] = true
			if key == "a=candidate" && !seen["media"] {
				seen["media"] = true
				fmt.Fprintf(&b, "%s\r\n%s\r\n", media, mid)
			}
			b.WriteString(line + "\r\n")
		}
	}
	return b.String()
}

// withoutRTCP returns our description without the candidates of RTCP's own
// component: it goes with RTP (RFC 5761), and some clients cannot tell the two
// apart.
func withoutRTCP(desc string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(desc, "\n") {
		if c, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			if f := strings.Fields(c); len(f) > 1 && f[1] != "1" {
				continue
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func attribute(desc, name string) string {
	for line := range strings.SplitSeq(desc, "\n") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "a="+name+":"); ok {
			return v
		}
	}
	return ""
}
