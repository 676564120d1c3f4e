package cdn_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestStatic(t *testing.T) {
	d := cdn.Static("https://o-eu1.example.com/", "http://[::1]:7000/delta//", "nats+tls://user@broker:4222")
	require.NoError(t, d.Put(t.Context(), cdn.Entry{Stream: "live", Node: "n", URL: "https://n"}, time.Second))
	require.NoError(t, d.Remove(t.Context(), cdn.Entry{Stream: "live", Node: "n"}))
	for _, id := range []cdn.StreamID{"live", "live/camera1"} {
		got, err := d.Find(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, []cdn.Entry{
			{Stream: id, URL: "https://o-eu1.example.com"},
			{Stream: id, URL: "http://[::1]:7000/delta"},
			{Stream: id, URL: "nats+tls://user@broker:4222"},
		}, got)
	}
}

func TestStaticAnswersAreTheCallers(t *testing.T) {
	d := cdn.Static("https://a", "https://b")
	got, err := d.Find(t.Context(), "live")
	require.NoError(t, err)
	got[0].URL = "changed"
	got, err = d.Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Equal(t, "https://a", got[0].URL)
}

func TestStaticWithoutURLs(t *testing.T) {
	got, err := cdn.Static().Find(t.Context(), "live")
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestStaticInvalid(t *testing.T) {
	for _, bad := range []string{
		"", "o-eu1.example.com", "o-eu1:7000", "/link", "//o-eu1.example.com", "https://", "https://:7000",
		"https:///link", "mailto:a@example.com", "https://o?x=1", "https://o?", "https://o#", "https://o/%zz", "https://o eu/",
	} {
		d := cdn.Static("https://good", bad)
		require.NoError(t, d.Put(t.Context(), cdn.Entry{}, time.Second), "%q", bad)
		_, err := d.Find(t.Context(), "live")
		require.ErrorIs(t, err, cdn.ErrInvalid, "%q", bad)
		var typed *cdn.Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, cdn.StreamID("live"), typed.Stream)
	}
	_, err := cdn.Static("https://user:secret@o?x").Find(t.Context(), "live")
	require.ErrorContains(t, err, "user:xxxxx@o")
}

func TestStaticContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := cdn.Static("https://o")
	require.ErrorIs(t, d.Put(ctx, cdn.Entry{}, time.Second), context.Canceled)
	require.ErrorIs(t, d.Remove(ctx, cdn.Entry{}), context.Canceled)
	_, err := d.Find(ctx, "live")
	require.ErrorIs(t, err, context.Canceled)
}
