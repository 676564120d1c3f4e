package receive

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	pionsdp "github.com/pion/sdp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
)

// unsupported are the offers of more than one transport, which only a PeerConnection
// may answer.
var unsupported = []string{"two-transports", "gstreamer-default", "gstreamer-balanced", "werift-disable"}

// layersOf are the layers of the offers that have several.
var layersOf = map[string]string{"obs-simulcast": "0 1 2", "plan-b-simulcast": "0 1 2"}

// offers returns the corpora: publishers' offers, and viewers' turned round.
func offers(t testing.TB) map[string]string {
	all := map[string]string{}
	for _, pattern := range []string{"testdata/offers/*.sdp", "../viewer/testdata/offers/*.sdp"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			offer := strings.ReplaceAll(string(raw), "a=recvonly", "a=sendonly")
			all[strings.TrimSuffix(filepath.Base(file), ".sdp")] = offer
		}
	}
	return all
}

func answerOffer(t testing.TB, node *cdn.Node, offer string) (*Plan, string, error) {
	plan, err := Accept(offer, nil)
	if err != nil {
		return nil, "", err
	}
	stream, err := node.NewStream(cdn.StreamID("s" + strconv.Itoa(len(node.Stats().Streams))))
	require.NoError(t, err)
	defer stream.End(nil)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	if err := in.Start(plan.Tracks); err != nil {
		return nil, "", err
	}
	s, err := Answer(Config{Input: in, Transport: node.Internal(), PionLog: node.Internal().PionLog}, plan)
	if err != nil {
		return nil, "", err
	}
	return plan, s.SDP(), s.Close()
}

// Each offer gets an answer that says of each of its m-sections what an answer has to
// (RFC 3264, RFC 8829 section 5.3.1, RFC 8842, RFC 9143), and nothing that it did
// not offer.
func TestAnswersOfTheCorpus(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	for name, offer := range offers(t) {
		t.Run(name, func(t *testing.T) {
			plan, answer, err := answerOffer(t, node, offer)
			if slices.Contains(unsupported, name) {
				require.ErrorIs(t, err, cdn.ErrUnsupported)
				return
			}
			require.NoError(t, err)
			require.NotEmpty(t, plan.Tracks)
			if want := layersOf[name]; want != "" {
				i := slices.IndexFunc(plan.Tracks, func(t cdn.TrackInfo) bool { return t.Kind == cdn.Video })
				require.Equal(t, want, strings.Join(plan.Tracks[i].Layers, " "))
			}
			var o, a pionsdp.SessionDescription
			require.NoError(t, o.UnmarshalString(offer))
			require.NoError(t, a.UnmarshalString(answer), answer)
			checkAnswer(t, plan, &o, &a)
		})
	}
}

// Whatever is offered is refused with a reason, or gets an answer with as many m-sections.
func FuzzAnswer(f *testing.F) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, node.Close()) })
	for _, offer := range offers(f) {
		f.Add(offer)
	}
	f.Fuzz(func(t *testing.T, offer string) {
		_, answer, err := answerOffer(t, node, offer)
		for _, reason := range []error{cdn.ErrInvalid, cdn.ErrNoCommonCodec, cdn.ErrUnsupported} {
			if errors.Is(err, reason) {
				return
			}
		}
		require.NoError(t, err)
		var o, a pionsdp.SessionDescription
		require.NoError(t, a.UnmarshalString(answer), answer)
		if o.UnmarshalString(offer) == nil { // we also read what a strict reader refuses
			require.Len(t, a.MediaDescriptions, len(o.MediaDescriptions))
		}
	})
}

func checkAnswer(t *testing.T, plan *Plan, o, a *pionsdp.SessionDescription) {
	require.Len(t, a.MediaDescriptions, len(o.MediaDescriptions))
	accepted, mids, candidates := 0, []string{}, 0
	for i, m := range a.MediaDescriptions {
		from := o.MediaDescriptions[i]
		require.Equal(t, from.MediaName.Media, m.MediaName.Media)
		require.Equal(t, from.MediaName.Protos, m.MediaName.Protos)
		mid, _ := m.Attribute("mid")
		theirs, _ := from.Attribute("mid")
		require.Equal(t, theirs, mid)
		if m.MediaName.Port.Value == 0 {
			continue
		}
		accepted++
		if mid != "" {
			mids = append(mids, mid)
		}
		for _, needed := range []string{"ice-ufrag", "ice-pwd", "rtcp-mux", "setup"} {
			_, ok := m.Attribute(needed)
			require.True(t, ok, needed)
		}
		setup, _ := m.Attribute("setup")
		offered, ok := from.Attribute("setup")
		if !ok {
			offered, _ = o.Attribute("setup")
		}
		require.Equal(t, map[string]string{"passive": "active"}[offered] == "active", setup == "active", "offered %q", offered)
		candidates += len(attributes(m, "candidate"))
		for _, pt := range m.MediaName.Formats {
			require.Contains(t, from.MediaName.Formats, pt)
		}
		for _, key := range []string{"rtcp-fb", "extmap"} {
			had := attributes(from, key)
			for _, value := range attributes(m, key) {
				number, what, _ := strings.Cut(value, " ")
				number, _, _ = strings.Cut(number, "/")
				require.True(t, slices.ContainsFunc(had, func(h string) bool {
					n, w, _ := strings.Cut(h, " ")
					n, _, _ = strings.Cut(n, "/")
					return (n == number || n == "*") && strings.HasPrefix(w, what)
				}), "%s:%s was not offered", key, value)
			}
		}
		if i := slices.IndexFunc(plan.Choices, func(c sdp.Choice) bool { return c.Media == plan.Offer.Media[i] }); i >= 0 {
			_, receives := m.Attribute("recvonly")
			require.True(t, receives)
			require.Len(t, attributes(m, "rid"), len(plan.Choices[i].Media.Rids))
		} else {
			_, held := m.Attribute("inactive")
			require.True(t, held)
		}
	}
	require.Positive(t, accepted)
	require.Positive(t, candidates)
	if group, ok := a.Attribute("group"); ok {
		got := strings.Fields(group)[1:]
		slices.Sort(got)
		slices.Sort(mids)
		require.Equal(t, mids, got)
	} else {
		require.True(t, len(mids) == 0 || accepted == 1 || !strings.Contains(strings.Join(values(o), "\n"), "BUNDLE"), "bundled")
	}
	_, ok := a.Attribute("fingerprint")
	require.True(t, ok)
}

func attributes(m *pionsdp.MediaDescription, key string) (all []string) {
	for _, a := range m.Attributes {
		if a.Key == key {
			all = append(all, a.Value)
		}
	}
	return all
}

func values(o *pionsdp.SessionDescription) (all []string) {
	for _, a := range o.Attributes {
		all = append(all, a.Value)
	}
	return all
}
