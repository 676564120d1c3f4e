package browser

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestScreenshot writes the picture of README.md, docs/console.png: the console of an edge
// and the page that plays there, beside each other. It runs where DELTA_SCREENSHOT names the
// file.
func TestScreenshot(t *testing.T) {
	file := os.Getenv("DELTA_SCREENSHOT")
	if file == "" {
		t.Skip("DELTA_SCREENSHOT=../../docs/console.png writes it anew")
	}
	n := startThreenode(t, "-relay")
	b := newBrowser(t)
	console, player := b.open(n.edge1+"/"), b.open(n.edge1+"/play?stream=demo")
	second := b.open(n.edge2 + "/play?stream=demo")
	requireMoving(t, player)
	requireMoving(t, second)
	player.wait(`delta.stats.decoded > 300`) // its curves have begun
	console.wait(`document.getElementById("viewers").innerText === "1" && document.querySelectorAll(".wire.carries").length >= 3`)
	left, right := console.picture(920, 680), player.picture(920, 680)
	const gap = 16
	both := image.NewRGBA(image.Rect(0, 0, left.Bounds().Dx()+gap+right.Bounds().Dx(), left.Bounds().Dy()))
	draw.Draw(both, both.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(both, left.Bounds(), left, image.Point{}, draw.Src)
	draw.Draw(both, right.Bounds().Add(image.Pt(left.Bounds().Dx()+gap, 0)), right, image.Point{}, draw.Src)
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, both))
	require.Less(t, out.Len(), 200<<10)
	require.NoError(t, os.WriteFile(file, out.Bytes(), 0o644))
}

// picture returns what a window of a size shows of the page, in the light theme.
func (p *page) picture(width, height int64) image.Image {
	p.t.Helper()
	p.emulate(look{scheme: "light", width: width}, "reduce")
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
	require.NoError(p.t, err)
	p.wait(`document.documentElement.clientHeight === ` + format(float64(height)))
	raw, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	shot, err := png.Decode(bytes.NewReader(raw))
	require.NoError(p.t, err)
	return shot
}
