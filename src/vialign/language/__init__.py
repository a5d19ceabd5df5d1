"""The tagger and parser trained on a treebank, phrase units of a text, and rule-made hard negatives."""
