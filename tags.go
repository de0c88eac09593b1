// Tags: what an event is about besides its aggregate.

package evento

import (
	"fmt"
	"slices"
)

// Tagged is a payload whose events have tags: texts by which an event is found, and
// a decision depends on it, by more than its aggregate. By convention a tag is what it
// names, a colon, and its id: "course:go". The generator writes the method for fields
// that are marked with //evento:tag.
//
// Tags are stored with the event, so the tags of stored events stay as they are when
// Tags changes. A tag that is there twice counts once. At most [MaxTags], each a name
// like an aggregate id.
type Tagged interface {
	Tags() []string
}

// MaxTags is the most tags that an event may have, and a filter.
const MaxTags = 16

// ByTags matches every event that has all of these tags.
func ByTags(tags ...string) Filter {
	f := Filter{Tags: slices.Clone(tags)}
	if len(tags) == 0 {
		f.mistake = "tags: none"
	}
	return f
}

// tagsOf are the tags of a payload, each once.
func tagsOf(p Payload) []string {
	t, ok := p.(Tagged)
	if !ok {
		return nil
	}
	var tags []string
	for _, tag := range t.Tags() {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func checkTags(tags []string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w tags: %d, at most %d are allowed", ErrInvalid, len(tags), MaxTags)
	}
	for i, tag := range tags {
		if err := checkName("tag", tag); err != nil {
			return err
		}
		if slices.Contains(tags[:i], tag) {
			return fmt.Errorf("%w tags: %s is there twice", ErrInvalid, shorten(tag))
		}
	}
	return nil
}

// hasTags reports whether an event with these tags has all that are wanted.
func hasTags(tags, wanted []string) bool {
	for _, tag := range wanted {
		if !slices.Contains(tags, tag) {
			return false
		}
	}
	return true
}
