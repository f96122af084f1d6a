"""WhitenedCSE"""
