"""A searchable collection of pictures: embeddings by shard on disk, exact search, and a corrected second look."""
