package resource

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// The parameters of a WHEP endpoint by which a viewer says how its video is to be fitted to
// its path.
const (
	QueryStrategy     = "strategy"
	QueryFirstBitrate = "first_bitrate"
	QueryMaxBitrate   = "max_bitrate"
	QueryMaxHeight    = "max_height"
)

var strategies = []string{"quality", "balanced", "careful"}

// readAdapt reads what a viewer wants. The error has a sentence for the viewer.
func readAdapt(q url.Values) (a signal.Adapt, err error) {
	if a.Strategy = q.Get(QueryStrategy); a.Strategy != "" && !slices.Contains(strategies, a.Strategy) {
		return a, badParameter("The parameter " + QueryStrategy + " is quality, balanced or careful.")
	}
	if q.Has(QueryFirstBitrate) {
		if a.FirstBitrate, err = bits(q.Get(QueryFirstBitrate)); err != nil {
			return a, badParameter("The parameter " + QueryFirstBitrate + " is a whole number of bits a second below 2147483648, or 0 for the lowest layer.")
		}
		if a.FirstBitrate == 0 {
			a.FirstBitrate = -1
		}
	}
	if q.Has(QueryMaxBitrate) {
		if a.MaxBitrate, err = bits(q.Get(QueryMaxBitrate)); err != nil || a.MaxBitrate == 0 {
			return a, badParameter("The parameter " + QueryMaxBitrate + " is a whole number of bits a second from 1 to 2147483647.")
		}
	}
	if q.Has(QueryMaxHeight) {
		height, err := strconv.ParseUint(q.Get(QueryMaxHeight), 10, 16)
		if err != nil || height == 0 {
			return a, badParameter("The parameter " + QueryMaxHeight + " is a whole number of pixels from 1 to 65535.")
		}
		a.MaxHeight = int(height)
	}
	return a, nil
}

// bits reads a bitrate, which is at least 0.
func bits(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}

func badParameter(sentence string) error {
	return &cdn.Error{Op: "offer", Err: cdn.ErrInvalid, Detail: sentence}
}

// AdaptQuery returns the parameters that say what a viewer wants, by name.
func AdaptQuery(a signal.Adapt) map[string]string {
	q := map[string]string{}
	if a.Strategy != "" {
		q[QueryStrategy] = a.Strategy
	}
	if a.FirstBitrate != 0 {
		q[QueryFirstBitrate] = strconv.Itoa(max(a.FirstBitrate, 0))
	}
	if a.MaxBitrate > 0 {
		q[QueryMaxBitrate] = strconv.Itoa(a.MaxBitrate)
	}
	if a.MaxHeight > 0 {
		q[QueryMaxHeight] = strconv.Itoa(a.MaxHeight)
	}
	return q
}
