package admin

import (
	"encoding/json"
	"errors"
	"reflect"

	"github.com/deltacdn/delta/cdn"
)

// Limits are what a node takes on: see [cdn.Limits]. Of the optional ones, zero is no
// bound.
type Limits struct {
	Sessions          int `json:"sessions"`
	HalfOpen          int `json:"half_open"`
	Streams           int `json:"streams"`
	Links             int `json:"links"`
	Tracks            int `json:"tracks"`
	Layers            int `json:"layers"`
	Publishers        int `json:"publishers"`
	Viewers           int `json:"viewers"`
	Nodes             int `json:"nodes"`
	StreamViewers     int `json:"stream_viewers"`
	StreamNodes       int `json:"stream_nodes"`
	AddressPublishers int `json:"address_publishers"`
	AddressViewers    int `json:"address_viewers"`
	PublisherBitrate  int `json:"publisher_bitrate"`
	ViewerBitrate     int `json:"viewer_bitrate"`
}

// LimitsChange changes the limits that it has, and leaves the others as they are. Zero
// stands for the default of a limit, which is no bound for an optional one.
type LimitsChange struct {
	Sessions          *int `json:"sessions,omitempty"`
	HalfOpen          *int `json:"half_open,omitempty"`
	Streams           *int `json:"streams,omitempty"`
	Links             *int `json:"links,omitempty"`
	Tracks            *int `json:"tracks,omitempty"`
	Layers            *int `json:"layers,omitempty"`
	Publishers        *int `json:"publishers,omitempty"`
	Viewers           *int `json:"viewers,omitempty"`
	Nodes             *int `json:"nodes,omitempty"`
	StreamViewers     *int `json:"stream_viewers,omitempty"`
	StreamNodes       *int `json:"stream_nodes,omitempty"`
	AddressPublishers *int `json:"address_publishers,omitempty"`
	AddressViewers    *int `json:"address_viewers,omitempty"`
	PublisherBitrate  *int `json:"publisher_bitrate,omitempty"`
	ViewerBitrate     *int `json:"viewer_bitrate,omitempty"`
}

// limitsOf returns a node's limits as they are told. The fields of the two have the same
// names.
func limitsOf(l cdn.Limits) (out Limits) {
	from, to := reflect.ValueOf(l), reflect.ValueOf(&out).Elem()
	for i := range to.NumField() {
		to.Field(i).SetInt(from.FieldByName(to.Type().Field(i).Name).Int())
	}
	return out
}

// with returns limits that are changed.
func (c LimitsChange) with(l cdn.Limits) cdn.Limits {
	from, to := reflect.ValueOf(c), reflect.ValueOf(&l).Elem()
	for i := range from.NumField() {
		if f := from.Field(i); !f.IsNil() {
			to.FieldByName(from.Type().Field(i).Name).SetInt(f.Elem().Int())
		}
	}
	return l
}

// setLimits changes this node's limits.
func (a *API) setLimits(q ask) (*Limits, error) {
	if q.Limits == nil {
		return nil, failed(q.Op, cdn.ErrInvalid, "There are no limits to set.")
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	err := a.node.SetLimits(q.Limits.with(a.node.Limits()))
	if errors.Is(err, cdn.ErrInvalid) {
		err = failed(q.Op, cdn.ErrInvalid, "No limit is less than zero.")
	}
	l := limitsOf(a.node.Limits())
	return &l, err
}

// String writes the change for the log.
func (c LimitsChange) String() string {
	b, _ := json.Marshal(c) // numbers always can be
	return string(b)
}
